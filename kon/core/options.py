"""Options of plug-ins, as a struct declares them: each fault with its place, and a JSON Schema for editors.

    class DigestOptions(Options, frozen=True, kw_only=True):
        \"""Options of `digest`.

        algorithm: what digests are made with. block_bytes: read at once.
        \"""

        algorithm: Literal["sha256", "blake2b"] = "sha256"
        block_bytes: Annotated[int, msgspec.Meta(ge=1)] = 65_536

The docstring's `name: text` is the option's description. `Meta(extra={"expected": "a colour"})` gives an
option words of its own for what errors call "expected".
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from kon.core.errors import ConfigurationError, closest, describe, did_you_mean

Path = tuple[str | int, ...]
Struct = type[msgspec.Struct]

_Made = TypeVar("_Made", bound=msgspec.Struct)

_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "text",
    type(None): "null",
}
_LISTS: Final = (list, tuple, set, frozenset)
_BOUNDS: Final = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


Given = Annotated[str, msgspec.Meta(min_length=1, extra={"expected": "text that is not empty"})]
"""Text such as a path: an empty one comes of a variable that is not set, and would mean something else."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of every kind.

    slots: tasks at once. The worker sets it; it is not for workload files.
    """

    slots: int = 1


SET_BY_WORKER: Final = frozenset(Options.__struct_fields__)


class OptionError(ConfigurationError):
    """An option of a plug-in can't be used.

    path: where it stands in the options; for a missing one, the option's name.
    unknown: whether the plug-in has no such option.
    """

    def __init__(self, message: str, *path: str | int, unknown: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.unknown = unknown


class Misfit(NamedTuple):
    """A value that its declared type does not take.

    path: keys and places in lists that lead to it. text: what was expected, and what was found.
    lacks: a key that the mapping at `path` does not have and needs.
    known: of an unknown key, which is the last of the path, the keys that there are.
    """

    path: Path
    text: str
    lacks: str = ""
    known: Collection[str] | None = None


def read_options(what: str, options: Mapping[str, Any], into: type[_Made]) -> _Made:
    """The options as `into`. Raises OptionError for the first one that is unknown, missing or mistyped.

    what: what has the options, for errors, such as "kind shell".
    """
    for error in option_errors(what, options, into):
        raise error
    return msgspec.convert(dict(options), into)


def option_errors(what: str, options: Mapping[str, Any], struct: Struct) -> Iterator[OptionError]:
    """Every fault of the options, by the struct alone."""
    for path, text, lacks, known in misfits(options, struct):
        inside = ".".join(map(str, path if known is None else path[:-1]))
        where = f'option "{inside}" of {what}: ' if inside else ""
        if lacks:
            said = f'{where}missing key "{lacks}"' if inside else f'the {what} needs the option "{lacks}"'
            yield OptionError(said, *path, lacks)
        elif known is not None and not inside:
            names = [name for name in known if name not in SET_BY_WORKER]
            takes = f"it takes {', '.join(names)}" if names else "it takes no options"
            meant = did_you_mean(str(path[0]), names)
            said = f'unknown option "{path[0]}" of {what}{meant} ({takes})'
            yield OptionError(said, *path, unknown=True)
        else:
            yield OptionError(f"{where}{text}" if where else text, *path)


def misfits(value: Any, hint: Any, path: Path = ()) -> list[Misfit]:
    """Everything in a plain value that is not as a type says. Deeper faults come first, and hide the rest."""
    # a type with words of its own is spoken of as a whole
    parts = [each for each in _alternatives(hint, bare=False) if not _said(each)]
    inside = next((found for each in parts if (found := _inside(value, _bare(each), path))), None)
    if inside:
        return inside
    try:
        if isinstance(value, float) and not math.isfinite(value):
            return [Misfit(path, f"expected {expected(hint)}, found {value}")]
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ValueError):  # from a struct's own check of its values
            return [Misfit(path, str(error.__cause__))]
        return [Misfit(path, f"expected {expected(hint)}, found {describe(value)}{_meant(value, hint)}")]
    except OptionError as error:  # from a struct's own check as well, which knows the option
        return [Misfit((*path, *error.path), str(error))]
    except ConfigurationError as error:
        return [Misfit(path, str(error))]
    except TypeError:  # no type that can be checked; whoever uses the value has the say
        return []
    return []


def _inside(value: Any, hint: Any, path: Path) -> list[Misfit]:
    """What is wrong in a mapping or list, where the type is about one of these."""
    origin = typing.get_origin(hint) or hint
    arguments = typing.get_args(hint)
    if isinstance(value, Mapping) and isinstance(origin, type):
        if issubclass(origin, msgspec.Struct):
            return _in_struct(value, origin, path)
        if issubclass(origin, Mapping) and arguments:
            return [each for key in value for each in misfits(value[key], arguments[1], (*path, str(key)))]
    elif isinstance(value, list) and origin in _LISTS and len(set(arguments) - {...}) == 1:
        return [each for at, item in enumerate(value) for each in misfits(item, arguments[0], (*path, at))]
    return []


def _in_struct(value: Mapping[Any, Any], struct: Struct, path: Path) -> list[Misfit]:
    fields = _fields(struct)
    found = []
    meant = set()  # keys that are there, but misspelt, are not reported as missing too
    for key, each in value.items():
        if key in fields:
            found += misfits(each, fields[key].type, (*path, key))
        else:
            found.append(Misfit((*path, str(key)), unknown(str(key), fields), known=tuple(fields)))
            meant.add(closest(str(key), fields))
    for name, field in fields.items():
        if field.required and name not in value and name not in meant:
            found.append(Misfit(path, f'missing key "{name}"', lacks=name))
    return found


@functools.cache
def _fields(struct: Struct) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def unknown(name: str, known: Iterable[str], what: str = "key") -> str:
    """What an error says of a key that nothing goes by."""
    names = list(known)
    meant = did_you_mean(name, names) or (f" (known: {', '.join(names)})" if names else " (it has none)")
    return f"unknown {what} {describe(name)}{meant}"


def expected(hint: Any) -> str:
    """A type in words, such as "a whole number of at least 1"."""
    alternatives = []
    for each in _alternatives(hint, bare=False):
        alternatives.append(_said(each) or f"{_word(_bare(each))} {_bounds(each)}".strip())
    return _either(alternatives)


def _said(hint: Any) -> str:
    """The words that a type has of its own."""
    return next((words for meta in _metas(hint) if (words := (meta.extra or {}).get("expected"))), "")


def _bounds(hint: Any) -> str:
    bounds = {name: getattr(meta, name) for meta in _metas(hint) for name in _BOUNDS}
    bounds = {name: bound for name, bound in bounds.items() if bound is not None}
    if bounds.keys() == {"ge", "le"}:
        return f"from {bounds['ge']} to {bounds['le']}"
    return " and ".join(f"{_BOUNDS[name]} {bound}" for name, bound in bounds.items())


def _metas(hint: Any) -> list[msgspec.Meta]:
    metas = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    return [meta for meta in metas if isinstance(meta, msgspec.Meta)]


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def needed(struct: Struct) -> set[str]:
    """The fields without a default."""
    return {field.encode_name for field in msgspec.structs.fields(struct) if field.required}


def expected_of(struct: Struct, name: str) -> str:
    """What a field takes, in words."""
    return expected(next(each.type for each in msgspec.structs.fields(struct) if each.encode_name == name))


def _word(hint: Any) -> str:
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return _either([describe(each) for each in typing.get_args(hint)])
    if origin is tuple and ... not in typing.get_args(hint):
        return f"a list of {len(typing.get_args(hint))}"
    if origin in _LISTS:
        return "a list"
    return _WORDS.get(origin, "a mapping")


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _meant(value: Any, hint: Any) -> str:
    for each in _alternatives(hint):
        if typing.get_origin(each) is Literal and isinstance(value, str):
            return did_you_mean(value, filter(str.__instancecheck__, typing.get_args(each)))
    return ""


def _alternatives(hint: Any, bare: bool = True) -> list[Any]:
    """The members of a union, or the type itself. bare: without `Annotated`."""
    inner = _bare(hint)
    if isinstance(inner, types.UnionType) or typing.get_origin(inner) is typing.Union:
        return [each for member in typing.get_args(inner) for each in _alternatives(member, bare)]
    return [inner if bare else hint]


# --- from lines of text ------------------------------------------------------------------------------


def from_text(text: str, hint: Any) -> Any:
    """The value that a text stands for where an option has that type; `misfits` tells whether it fits.

    Text stays as it is written, and `""` is the empty one. Lists are numbers or words with blanks or commas
    between them. What stands for no such value comes back as it is.
    """
    alternatives = _alternatives(hint)
    if str in alternatives:
        return "" if text == '""' else text
    if any((typing.get_origin(each) or each) in _LISTS for each in alternatives):
        return [_plain(word, int | float) for word in text.strip("[]()").replace(",", " ").split()]
    return _plain(text, hint)


def _plain(text: str, hint: Any) -> Any:
    try:
        return msgspec.convert(text, hint, strict=False)
    except msgspec.ValidationError:
        return _number(text)


def _number(text: str) -> Any:
    """A number, so that an error says of it that it is out of bounds, not that it is text."""
    try:
        return msgspec.convert(text, int | float, strict=False)
    except msgspec.ValidationError:
        return text


# --- for editors and help ---------------------------------------------------------------------------


def documentation(struct: Struct) -> str:
    """The docstrings that describe a struct's fields: its own, and those of the structs that it extends."""
    classes = [
        each for each in struct.__mro__ if issubclass(each, msgspec.Struct) and each is not msgspec.Struct
    ]
    return "\n\n".join(inspect.cleandoc(vars(each).get("__doc__") or "") for each in classes)


def options_schema(struct: Struct, about: str | None, components: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema for each option, by name, with its description and default.

    about: the docstring that describes them. components: takes the schemas of structs inside.
    """
    texts = described(about or "", [field.encode_name for field in msgspec.structs.fields(struct)])
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        if field.encode_name in SET_BY_WORKER:
            continue
        form: dict[str, Any] = {}
        try:
            (form,), inner = msgspec.json.schema_components([field.type], ref_template="#/$defs/{name}")
            components.update(inner)
        except TypeError:  # no type that msgspec knows; any value may be right
            pass
        text = texts.get(field.encode_name)
        found[field.encode_name] = {**({"description": text} if text else {}), **form, **_default(field)}
    return found


def _default(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    if field.required:
        return {}
    made = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return {"default": msgspec.json.decode(msgspec.json.encode(made, order="sorted"))}


@functools.cache
def _heads(names: tuple[str, ...]) -> re.Pattern[str]:
    one = "|".join(map(re.escape, names))
    return re.compile(rf"(?:^|(?<=[.:;)] )|(?<=\n))((?:{one})(?:, (?:{one}))*): ")


def described(docstring: str, names: Collection[str]) -> dict[str, str]:
    """What a docstring says of each name, in the form `name: text` or `one, other: text`."""
    lines = "\n".join(line.strip() for line in docstring.split("\n"))
    pieces = _heads(tuple(names)).split(lines) if names else [lines]
    return {
        name: " ".join(text.split("\n\n")[0].split())
        for heads, text in zip(pieces[1::2], pieces[2::2])
        for name in heads.split(", ")
    }

"""Command templates: what is to be run for one item, or for several.

In a template, `{}` stands for the item, `{.}` for the item without its extension, `{/}` for its last
part and `{//}` for its folder. `{/.}` is its last part without extension, and `{#}` the task's number,
from 1. These are the placeholders of GNU parallel. A template without any gets the item at its end.
`\\{}` is a literal `{}`.

Where a template is read with `positions`, `{1}`, `{2/.}` and so on stand for one of several items, and
`{%}` for the number of the slot that runs it. Elsewhere these are text, as they have always been in
experiment files. With several items `{}` becomes a word for each.

A list is an argument vector: each of its words is filled in as it is. A string is a shell command:
there a placeholder yields the item as one word whatever characters it holds (see kon.kinds.quoting).
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from kon.core.errors import ConfigurationError, counted
from kon.kinds.quoting import PLACEHOLDER, check_no_code, item_as_variable, several_in_a_word

DEFAULT_SHELL: Final = "/bin/sh"


class Invocation(NamedTuple):
    """What to run.

    argv: the program and its arguments.
    in_shell: what to run where argv turns out not to be a program: a shell may know the word.
    variables: to be put into the environment.
    """

    argv: list[str]
    in_shell: list[str] | None = None
    variables: Mapping[str, str] = {}


_PLAIN: Final = re.compile(r"\s*[A-Za-z0-9_@+:,./-]+(?:[ \t]+[A-Za-z0-9_@%+:,./=-]+)*\s*")
"""Words that mean the same to a shell and to exec. The first holds no `=`, which would assign."""

_BUILT_IN: Final = frozenset(
    re.findall(
        r"\S+",
        """. : alias autoload bg bind break builtin caller case cd chdir command compgen complete
        continue coproc declare dirs disown do done echo elif else emulate enable esac eval exec
        exit export fc fg fi for function getopts hash help history if in integer jobs kill let
        limit local logout mapfile newgrp popd print printf pushd pwd read readarray readonly
        repeat return select set shift shopt source suspend test then time times trap type typeset
        ulimit umask unalias unset until wait whence which while""",
    )
)
"""First words that shells take for themselves, to an effect that a program of that name may not have.
`true` and `false` are left out: they are the same everywhere."""


class ShellProgram:
    """The shell that string commands are for, and which of them can do without it."""

    def __init__(self, path: str, functions: frozenset[str]) -> None:
        """`functions`: names that the environment defines as functions of the shell."""
        self.path = path
        self._taken = _BUILT_IN | functions

    def argv(self, script: str) -> list[str]:
        # a script that starts with a dash would be read as an option
        return [self.path, "-c", f" {script}" if script.startswith(("-", "+")) else script]

    def plain_words(self, script: str) -> list[str] | None:
        """The words of a command that runs the same without the shell; None for any other.

        Placeholders count as words. Another shell than /bin/sh was named for a reason: it gets all.
        """
        if self.path != DEFAULT_SHELL or not _PLAIN.fullmatch(PLACEHOLDER.sub("x", script)):
            return None
        words = script.split()
        return None if words[0] in self._taken or PLACEHOLDER.search(words[0]) else words

    def call(self, script: str) -> Invocation:
        """A command that is no template."""
        in_shell = self.argv(script)
        words = self.plain_words(script)
        # without a template, `{}` is nothing but two braces
        if words is None or PLACEHOLDER.search(script):
            return Invocation(in_shell)
        return Invocation(words, in_shell)


_SLOT: Final = "{%}"
_NUMBER: Final = "{#}"
NUMBERS: Final = frozenset({_NUMBER, _SLOT})
"""Placeholders that stand for no part of the item."""

_ITEM_VARIABLE: Final = re.compile(r"\$\{?KON_ITEM|\(\((?:(?!\)\)).)*\bKON_ITEM", re.DOTALL)
"""The item as a variable; in a shell's arithmetic, that has no dollar."""


class Template:
    """One template, read once and filled in for each task."""

    def __init__(
        self,
        command: str | Sequence[str],
        shell: ShellProgram,
        *,
        positions: bool = False,
        appends: bool = True,
    ) -> None:
        """`positions`: `{1}` and `{%}` are placeholders. `appends`: without any, the item comes last.

        Raises ConfigurationError for a template that is empty, or has a placeholder where none is safe.
        """
        first_word = command if isinstance(command, str) else "".join(command[:1])
        if not first_word.strip():
            raise ConfigurationError("the command is empty")
        self._command = command
        self._shell = shell
        self._positions = positions
        used = placeholders(command, positions)
        if isinstance(command, str) and _ITEM_VARIABLE.search(command):
            used.add("{}")
        self.uses_slot = _SLOT in used or (positions and isinstance(command, str) and "KON_SLOT" in command)
        """Whether it matters which slot runs it."""
        self.highest_position = max((_position(each) for each in used), default=0)
        """The largest number in a placeholder such as `{2}`; 0 where there is none."""
        self._complete: str | Sequence[str] = command
        if appends and not used:
            self._complete = f"{command.rstrip()} {{}}" if isinstance(command, str) else [*command, "{}"]
        self._needs_item = not used <= NUMBERS
        if not isinstance(command, str):
            _check_words(command, positions)
        self._forms: dict[int, _Form] = {}
        self._checked: set[int] = set()
        self._form(max(1, self.highest_position) if self._needs_item else 0)  # faults are told at once

    def call(self, item: str | Sequence[str] | None, number: int, slot: int | None = None) -> Invocation:
        """`item` is None for a task that has none, and a list for one that has several; `number` is the
        task's, from 1; `slot` that of the slot that runs it, from 1, None where it is not known yet.

        Raises ConfigurationError where the template and the task do not go together.
        """
        if item is None:
            if self._needs_item:
                raise ConfigurationError("the command names its item, and the task has none")
            return self._form(0).call((), number, slot)
        items = (item,) if isinstance(item, str) else item
        if self.highest_position > len(items):
            raise ConfigurationError(
                f"the command has {{{self.highest_position}}}, and the task {counted(len(items), 'item')}"
            )
        return self._form(len(items)).call(items, number, slot)

    def check(self, count: int) -> None:
        """Raises ConfigurationError where tasks of `count` items do not go with the template."""
        if count not in self._checked:  # what the items are makes no difference
            self.call(["x"] * count or None, 1)
            self._checked.add(count)

    def _form(self, count: int) -> _Form:
        form = self._forms.get(count)
        if form is None:
            command = self._complete if count else self._command
            form = self._forms[count] = _Form.of(command, self._shell, count, self._positions)
        return form


def _check_words(words: Sequence[str], positions: bool) -> None:
    """Raises ConfigurationError for a placeholder inside a word that is code for an interpreter."""
    for at, word in enumerate(words):
        for placeholder in placeholders([word], positions) - NUMBERS:
            if word != placeholder:
                check_no_code(" ".join(words[:at]), placeholder, "KON_ITEM")


class _Form(NamedTuple):
    """A template with all its placeholders in place, for tasks of `count` items."""

    words: list[str] | None
    in_shell: list[str] | None
    variables: Mapping[str, str]
    """Variables of the environment: the placeholder whose value each has."""
    positions: bool

    @classmethod
    def of(cls, command: str | Sequence[str], shell: ShellProgram, count: int, positions: bool) -> _Form:
        if not isinstance(command, str):
            return cls(list(command), None, {}, positions)
        used = placeholders(command, positions)
        known = used | _PLAIN_NAMES
        in_shell = shell.argv(item_as_variable(command, {each: _variables(each, count) for each in known}))
        variables: dict[str, str] = {}
        # a script may always ask for $KON_ITEM, or $KON_ITEM_2, and for $KON_NUMBER
        for placeholder in sorted(used | {"{}", _NUMBER}):
            names = _variables(placeholder, count)
            for at, name in enumerate(names, start=1):
                variables[name] = placeholder if len(names) == 1 else f"{{{at}{placeholder[1:]}"
        return cls(shell.plain_words(command), in_shell, variables, positions)

    def call(self, items: Sequence[str], number: int, slot: int | None) -> Invocation:
        variables = {
            name: "".join(_values(placeholder, items, number, slot))
            for name, placeholder in self.variables.items()
        }
        if self.words is None:
            assert self.in_shell is not None  # a form has words, or a script, or both
            return Invocation(self.in_shell, None, variables)
        words = [
            filled
            for word in self.words
            for filled in (_filled(word, items, number, slot, self.positions) if "{" in word else (word,))
        ]
        return Invocation(words, self.in_shell, variables)


def _last_part(item: str) -> str:
    return posixpath.basename(item.rstrip("/")) or item[:1]


def _folder(item: str) -> str:
    return posixpath.dirname(item.rstrip("/")) or ("/" if item.startswith("/") else ".")


class _Part(NamedTuple):
    """What of an item a placeholder takes: `{/.}` its part `/.`."""

    variable: str
    of: Callable[[str], str]


_PARTS: Final[Mapping[str, _Part]] = {
    "": _Part("", lambda item: item),
    ".": _Part("_NOEXT", lambda item: posixpath.splitext(item)[0]),
    "/": _Part("_BASE", _last_part),
    "//": _Part("_DIR", _folder),
    "/.": _Part("_STEM", lambda item: posixpath.splitext(_last_part(item))[0]),
}

_PLAIN_NAMES: Final = frozenset({_NUMBER, *(f"{{{part}}}" for part in _PARTS)})


@functools.cache
def _split(placeholder: str) -> tuple[int, str]:
    """The position, 0 for none, and the part."""
    text = placeholder[1:-1]
    part = text.lstrip("0123456789")
    digits = text[: len(text) - len(part)]
    return int(digits or 0), part


def _position(placeholder: str) -> int:
    return _split(placeholder)[0]


def _variables(placeholder: str, count: int) -> list[str]:
    """The variables of the environment that hold what a placeholder stands for, with `count` items."""
    if placeholder == _NUMBER:
        return ["KON_NUMBER"]
    if placeholder == _SLOT:
        return ["KON_SLOT"]
    position, part = _split(placeholder)
    suffix = _PARTS[part].variable
    if position:
        return [f"KON_ITEM_{position}{suffix}"]
    return [f"KON_ITEM{suffix}"] if count <= 1 else [f"KON_ITEM_{at}{suffix}" for at in range(1, count + 1)]


def _values(placeholder: str, items: Sequence[str], number: int, slot: int | None) -> Sequence[str]:
    """What a placeholder stands for."""
    if placeholder == "{}":
        return items
    if placeholder == _NUMBER:
        return [str(number)]
    if placeholder == _SLOT:
        return [_SLOT if slot is None else str(slot)]
    position, part = _split(placeholder)
    return [_PARTS[part].of(item) for item in (items[position - 1 : position] if position else items)]


def placeholders(command: str | Sequence[str], positions: bool = False) -> set[str]:
    """Those that a template has; with `positions` `{1}` and `{%}` are such too."""
    text = command if isinstance(command, str) else "\0".join(command)
    found = {found["placeholder"] for found in PLACEHOLDER.finditer(text) if not found["escaped"]}
    return found if positions else found & _PLAIN_NAMES


def tells_apart(template: str) -> bool:
    """Whether a template makes different texts of different items. Their names or folders alone may be the
    same."""
    return not placeholders(template).isdisjoint({"{}", "{#}"})


def fill(word: str, item: str, number: int, quote: Callable[[str], str] | None = None) -> str:
    """A word of a template with its placeholders filled in.

    number: the task's, from 1. quote: what each value is passed through.
    """
    if "{" not in word:
        return word

    def value(found: re.Match[str]) -> str:
        placeholder = found["placeholder"]
        if placeholder not in _PLAIN_NAMES:
            return found[0]
        if found["escaped"]:
            return placeholder
        [meant] = _values(placeholder, [item], number, None)
        return meant if quote is None else quote(meant)

    return PLACEHOLDER.sub(value, word)


def _filled(word: str, items: Sequence[str], number: int, slot: int | None, positions: bool) -> Sequence[str]:
    """A word with its placeholders filled in: several, where it is a placeholder of several items.

    Raises ConfigurationError where such a placeholder is a part of the word.
    """
    if word == "{}":
        return items
    known = None if positions else _PLAIN_NAMES
    alone = PLACEHOLDER.fullmatch(word)
    if alone and not alone["escaped"] and (known is None or word in known):
        return _values(word, items, number, slot)

    def value(found: re.Match[str]) -> str:
        placeholder = found["placeholder"]
        if known is not None and placeholder not in known:
            return found[0]
        if found["escaped"]:
            return placeholder
        values = _values(placeholder, items, number, slot)
        if len(values) != 1:
            raise ConfigurationError(several_in_a_word(placeholder))
        return values[0]

    return (PLACEHOLDER.sub(value, word),)

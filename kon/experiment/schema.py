"""The JSON Schema of an experiment file, for editors: docs/experiment.schema.json, and `kon schema`.

It knows the plug-ins that are installed by name, and the options of strategies. It lets through what
it can't know: plug-ins of one's own, and the options of kinds and backends.
"""

from __future__ import annotations

import typing
from typing import Any, Final

import msgspec
from pydantic import PydanticUserError, TypeAdapter

from kon.core.plugins import Group, names, strategy_class
from kon.core.strategy import Strategy, strategy_options
from kon.experiment.checkworkload import DEFAULT_BETWEEN, DEFAULT_LENGTH
from kon.experiment.model import ExperimentForm

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_NUMBER: Final = {"type": "number", "minimum": 0}

_SECONDS: Final[dict[str, Any]] = {
    "description": "How long a made-up task of the kind sleep takes, in seconds, or what that is drawn from.",
    "anyOf": [
        _NUMBER,
        *(
            {"type": "object", "properties": {form: given}, "required": [form], "additionalProperties": False}
            for form, given in {
                "uniform": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
                "choice": {"type": "array", "items": _NUMBER, "minItems": 1},
                "exponential": _NUMBER,
            }.items()
        ),
    ],
    "examples": [0.01, {"uniform": [0.01, 0.02]}],
}
_MADE_UP: Final[dict[str, Any]] = {
    "seconds": _SECONDS,
    "length": {
        "description": "How many integers a made-up list of the kind stats holds.",
        "type": "integer",
        "minimum": 1,
        "default": DEFAULT_LENGTH,
    },
    "between": {
        "description": "The least and the largest integer of made-up lists of the kind stats.",
        "type": "array",
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 2,
        "default": list(DEFAULT_BETWEEN),
    },
}


def experiment_schema() -> dict[str, Any]:
    """The schema of one document of an experiment file."""
    schema = ExperimentForm.model_json_schema()
    forms = schema["$defs"]
    properties = schema["properties"]
    mapping = forms.pop("Choice")
    del mapping["title"], mapping["properties"]["name"]["title"]
    known = map(_strategy, names("kon.strategies"))
    forms["Backend"] = {"anyOf": [_known("kon.backends"), mapping]}
    forms["Strategy"] = {"anyOf": [_known("kon.strategies"), *known, mapping]}
    properties["backend"] = _about(properties["backend"], {"$ref": "#/$defs/Backend"}, "sqlite")
    properties["strategies"] = _about(
        properties["strategies"], _some({"$ref": "#/$defs/Strategy"}), ["lease"]
    )
    properties["workers"] = _about(properties["workers"], _some(properties["workers"]["anyOf"][1]), [1])
    workload = forms["WorkloadForm"]["properties"]
    workload["kind"] = {"description": workload["kind"]["description"], **_known("kon.kinds")}
    pattern = {"type": "string", "minLength": 1}
    workload["glob"] = {"description": workload["glob"]["description"], **_some(pattern)}
    workload.update(_MADE_UP)
    for form in [schema, *forms.values()]:
        form.pop("title", None)
        for key, field in form.get("properties", {}).items():
            field.pop("title", None)
            form["properties"][key] = _without_null(field)
    return {"$schema": _DIALECT, "title": "An experiment of kon", **schema}


def schema_text() -> str:
    """The schema as it stands in docs/experiment.schema.json."""
    return msgspec.json.format(msgspec.json.encode(experiment_schema()), indent=2).decode() + "\n"


def _known(group: Group) -> dict[str, Any]:
    return {"anyOf": [{"enum": names(group)}, {"type": "string", "minLength": 1}]}


def _some(one: dict[str, Any]) -> dict[str, Any]:
    """A list of some, or a lone one."""
    return {"anyOf": [{"type": "array", "items": one, "minItems": 1, "uniqueItems": True}, one]}


def _strategy(name: str) -> dict[str, Any]:
    """A mapping with the options that the strategy takes."""
    cls = strategy_class(name)
    options = {option: _option(cls, option, default) for option, default in strategy_options(cls).items()}
    return {
        "type": "object",
        "description": (cls.__doc__ or name).strip().splitlines()[0],
        "properties": {"name": {"const": name}, **options},
        "required": ["name"],
        "additionalProperties": False,
    }


def _option(cls: type[Strategy], option: str, default: Any) -> dict[str, Any]:
    try:
        form = TypeAdapter(typing.get_type_hints(cls.__init__)[option]).json_schema()
    except (KeyError, NameError, TypeError, PydanticUserError):
        form = {}
    return {**form, "default": default}


def _about(field: dict[str, Any], form: dict[str, Any], default: Any) -> dict[str, Any]:
    return {"description": field["description"], **form, "default": default}


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A key that is left out has no value, which is not to say that one may write null for it."""
    if field.get("default", ...) is None and "anyOf" in field and "x-null" not in field:
        [form] = [each for each in field["anyOf"] if each != {"type": "null"}]
        return {**form, **{key: value for key, value in field.items() if key not in ("anyOf", "default")}}
    return {key: value for key, value in field.items() if key != "x-null"}


if __name__ == "__main__":
    print(schema_text(), end="")

"""The JSON Schema of an experiment file, for editors: docs/experiment.schema.json, and `kon schema`.

It has the plug-ins that are installed, with the options that each declares. It lets through what it can't
know: plug-ins given as `module:Class`, and options of plug-ins that declare none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kon.core.options import documentation, options_schema
from kon.core.plugins import Group, docstring, names, plugin_class, takes
from kon.experiment.model import ExperimentForm, WorkloadForm

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> dict[str, Any]:
    """The schema of one document of an experiment file."""
    schema = ExperimentForm.model_json_schema()
    forms = schema["$defs"]
    properties = schema["properties"]
    mapping = forms.pop("PluginChoice")
    del mapping["title"], mapping["properties"]["name"]["title"]
    inside: dict[str, Any] = {}
    forms["Backend"] = _named("kon.backends", mapping, inside)
    forms["Strategy"] = _named("kon.strategies", mapping, inside)
    properties["backend"] = _about(properties["backend"], {"$ref": "#/$defs/Backend"}, "sqlite")
    properties["strategies"] = _about(
        properties["strategies"], _some({"$ref": "#/$defs/Strategy"}), ["lease"]
    )
    properties["workers"] = _about(properties["workers"], _some(properties["workers"]["anyOf"][1]), [1])
    workload = forms["WorkloadForm"]["properties"]
    workload["kind"] = {"description": workload["kind"]["description"], **_known("kon.kinds")}
    pattern = {"type": "string", "minLength": 1}
    workload["glob"] = {"description": workload["glob"]["description"], **_some(pattern)}
    forms["WorkloadForm"]["allOf"] = [_kind(name, workload, inside) for name in names("kon.kinds")]
    for form in [schema, *forms.values()]:
        form.pop("title", None)
        for key, field in form.get("properties", {}).items():
            field.pop("title", None)
            form["properties"][key] = _without_null(field)
    forms.update(inside)
    _settle(schema)
    return {"$schema": _DIALECT, "title": "An experiment of kon", **schema}


def _settle(schema: Any) -> None:
    """Descriptions without the indentation of docstrings, which Python takes off by itself since 3.13."""
    if isinstance(schema, list):
        for each in schema:
            _settle(each)
    elif isinstance(schema, dict):
        if isinstance(text := schema.get("description"), str):
            schema["description"] = inspect.cleandoc(text)
        for each in schema.values():
            _settle(each)


def schema_text() -> str:
    """The schema as it stands in docs/experiment.schema.json."""
    return msgspec.json.format(msgspec.json.encode(experiment_schema()), indent=2).decode() + "\n"


def _known(group: Group) -> dict[str, Any]:
    return {"anyOf": [{"enum": names(group)}, {"type": "string", "minLength": 1}]}


def _some(one: dict[str, Any]) -> dict[str, Any]:
    """A list of some, or a lone one."""
    return {"anyOf": [{"type": "array", "items": one, "minItems": 1, "uniqueItems": True}, one]}


def _named(group: Group, mapping: dict[str, Any], inside: dict[str, Any]) -> dict[str, Any]:
    """A plug-in's name, or a mapping with the name and the options that it takes."""
    declared = [name for name in names(group) if takes(plugin_class(group, name)) is not None]
    other = {**mapping["properties"], "name": {**mapping["properties"]["name"], "not": {"enum": declared}}}
    known = [_mapping(group, name, inside) for name in declared]
    return {"anyOf": [_known(group), *known, {**mapping, "properties": other}]}


def _mapping(group: Group, name: str, inside: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": docstring(plugin_class(group, name)).partition("\n")[0],
        "properties": {"name": {"const": name}, **_options(group, name, inside)},
        "required": ["name"],
        "additionalProperties": False,
    }


def _kind(name: str, workload: dict[str, Any], inside: dict[str, Any]) -> dict[str, Any]:
    """What a workload of one kind may hold; keys for made-up tasks are added to those of all workloads."""
    cls = plugin_class("kon.kinds", name)
    made_from = {}
    if cls.made_from is not None:
        made_from = options_schema(cls.made_from, documentation(cls.made_from), inside)
        for key, form in made_from.items():
            workload.setdefault(key, form)
    then: dict[str, Any] = {"description": docstring(cls).partition("\n")[0]}
    if cls.takes is not None:
        keys = {**_options("kon.kinds", name, inside), **made_from}
        then["properties"] = {**dict.fromkeys(WorkloadForm.model_fields, True), **keys}
        then["additionalProperties"] = False
    return {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": then}


def _options(group: Group, name: str, inside: dict[str, Any]) -> Mapping[str, Any]:
    cls = plugin_class(group, name)
    declared = takes(cls)
    if declared is None:
        return {}
    about = docstring(cls) if group == "kon.strategies" else documentation(declared)
    return options_schema(declared, about, inside)


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

"""Defaults of a person and of a project for the options of commands.

First comes the command line. Then, from the nearest to the farthest: the environment (KON_RUN_OUT for
`kon run --out`), `kon.toml` or `[tool.kon]` in pyproject.toml in the current folder, and `kon/kon.toml` in
the person's folder for settings. A file has a table for each command:

    [run]
    out = "/data/results"
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from kon.core.errors import ConfigurationError, describe, did_you_mean

NEVER: Final = frozenset({"rm", "clean", "down", "sweep", "dead", "cancel"})
"""Commands that remove things. What they do is said on the command line, all of it."""

NEVER_OPTIONS: Final = frozenset({"yes", "force", "with_objects", "rerun_failed", "help", "version"})


class Default(NamedTuple):
    """One value. source: the file, or the variable of the environment, that it is from."""

    command: str
    option: str
    value: Any
    source: str


def defaults(commands: Mapping[str, Any]) -> list[Default]:
    """All that are set, the nearest last. Raises ConfigurationError for a file that can't be used."""
    found = [default for file in _files() for default in _in_file(file, commands)]
    return [*found, *_in_environment(commands)]


def apply(command: click.Command, name: str, found: list[Default]) -> dict[str, Any]:
    """The values for one command's options, by parameter. Raises ConfigurationError for an option that it
    does not have or that takes no default, or a value that it can't take."""
    options = {param.name or "": param for param in command.params if isinstance(param, click.Option)}
    chosen: dict[str, Any] = {}
    for default in found:
        if default.command != name:
            continue
        key = _parameter(options, default)
        param = options[key]
        value = default.value
        if param.multiple and not isinstance(value, list):
            value = [value]
        try:
            param.type_cast_value(click.Context(command, info_name=name), value)
        except (click.BadParameter, TypeError) as error:
            said = error.format_message() if isinstance(error, click.BadParameter) else str(error)
            raise ConfigurationError(f"{default.source}: {name}.{default.option}: {said}") from error
        chosen[key] = value
    return chosen


def _parameter(options: Mapping[str, click.Option], default: Default) -> str:
    """The name of the parameter that an option without its dashes stands for."""
    known = {opt.lstrip("-").replace("-", "_"): key for key, param in options.items() for opt in param.opts}
    word = default.option.replace("-", "_")
    key = known.get(word)
    if key is None:
        meant = did_you_mean(word, (name for name in known if len(name) > 1))
        raise ConfigurationError(
            f"{default.source}: `kon {default.command}` has no option {describe(default.option)}{meant}"
        )
    if default.command in NEVER or key in NEVER_OPTIONS or word in NEVER_OPTIONS:
        raise ConfigurationError(
            f"{default.source}: the option {default.option} of `kon {default.command}` takes no default; it "
            "stands on the command line each time"
        )
    return key


def _files() -> Iterator[Path]:
    """The files that may set something, the nearest last."""
    person = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for file in (person / "kon" / "kon.toml", Path("pyproject.toml"), Path("kon.toml")):
        if file.is_file():
            yield file


def _in_file(file: Path, commands: Mapping[str, Any]) -> Iterator[Default]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.name == "pyproject.toml" and "kon" not in text:
            return
        import tomllib  # which most do without

        content: dict[str, Any] = tomllib.loads(text)
    except (OSError, ValueError) as error:
        if file.name == "pyproject.toml":
            return  # another tool's business, which will say so
        raise ConfigurationError(f"{file}: can't be read as TOML: {error}") from error
    if file.name == "pyproject.toml":
        content = content.get("tool", {}).get("kon", {})
        if content and Path("kon.toml").is_file():
            raise ConfigurationError(
                "both kon.toml and [tool.kon] in pyproject.toml set defaults here; keep one of them"
            )
    for command, table in content.items():
        if command not in commands:
            meant = did_you_mean(command, commands)
            raise ConfigurationError(f"{file}: there is no command {describe(command)}{meant}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: expected a table [{command}], found {describe(table)}")
        for option, value in table.items():
            yield Default(command, option, value, str(file))


def _in_environment(commands: Mapping[str, Any]) -> Iterator[Default]:
    """KON_<COMMAND>_<OPTION>. Variables that name no command, such as KON_LOG_FORMAT, mean something else. An
    empty variable sets nothing, as elsewhere."""
    for variable, value in sorted(os.environ.items()):
        prefix, _, rest = variable.partition("_")
        command, _, option = rest.lower().partition("_")
        if prefix == "KON" and option and value and command in commands:
            yield Default(command, option, value, variable)

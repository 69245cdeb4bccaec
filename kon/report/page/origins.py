"""Where runs come from, and the command that repeats them, from what their records say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import yaml

from kon.engine.records.records import RunFile
from kon.report.gathered import Gathered


class Provenance(NamedTuple):
    """Where runs come from that were asked for together.

    yaml: the experiment file as it was, where it is recorded.
    """

    title: str
    command: str
    facts: list[tuple[str, str]]
    yaml_title: str
    yaml: str
    spec_title: str
    spec: str


_DIFFERS = frozenset({"started_s"})
"""Parts of the context that differ from run to run of one command."""


def origins(runs: Sequence[Gathered]) -> list[Provenance]:
    """One for each experiment and way that it was asked for."""
    groups: dict[bytes, list[Gathered]] = {}
    for each in runs:
        context = {key: value for key, value in each.run.context.items() if key not in _DIFFERS}
        told = msgspec.json.encode([each.run.spec.experiment, context], order="sorted")
        groups.setdefault(told, []).append(each)
    return [_origin(group) for group in groups.values()]


def command(run: RunFile) -> str:
    """What runs it again, into a new folder; nothing where the records do not say."""
    context = run.context
    if not isinstance(context.get("file"), str):
        return ""
    words = ["kon", "run", context["file"]]
    for text in context.get("set") or ():
        words += ["--set", str(text)]
    if context.get("limit") is not None:
        words += ["--limit", str(context["limit"])]
    again = shlex.join([*words, "--out", f"results/{run.spec.experiment}-again"])
    return f"cd {shlex.quote(str(context['cwd']))}\n{again}" if context.get("cwd") else again


def _origin(group: Sequence[Gathered]) -> Provenance:
    first = group[0]
    run = first.run
    text = run.context.get("experiment_file")
    return Provenance(
        title=run.spec.experiment or first.name,
        command=command(run),
        facts=list(_facts(group)),
        yaml_title=str(run.context.get("file", "the experiment file")),
        yaml=text if isinstance(text, str) else "",
        spec_title=first.name,
        spec=yaml.safe_dump(msgspec.to_builtins(run.spec), sort_keys=False, allow_unicode=True),
    )


def _facts(group: Sequence[Gathered]) -> Iterator[tuple[str, str]]:
    run, context = group[0].run, group[0].run.context
    yield "runs", ", ".join(each.name for each in group)
    began = [each.row["began_s"] for each in group if each.row.get("began_s")]
    if began:
        clock = " (virtual time)" if context.get("clock") == "virtual" else ""
        first, last = (datetime.fromtimestamp(each, UTC) for each in (min(began), max(began)))
        until = f" to {last:%Y-%m-%d %H:%M:%S}" if last != first else ""
        yield "began", f"{first:%Y-%m-%d %H:%M:%S}{until} UTC{clock}"
    yield "seed", str(run.spec.seed)
    yield "kon, Python", f"{_said(context, 'kon')}, {_said(context, 'python')}"
    yield (
        "machine",
        (
            f"{_said(context, 'host')}: {_said(context, 'cpus')} processors, {_said(context, 'machine')}, "
            f"{_said(context, 'system')}"
        ),
    )
    hosts = sorted(
        {life.host for each in group if each.timeline for life in each.timeline.lives if life.host}
    )
    if hosts and hosts != [context.get("host")]:
        yield "workers on", ", ".join(hosts)
    if not context.get("file"):
        yield (
            "comes from",
            "no experiment file: a program or `kon map` asked for it; its items are not recorded",
        )
    else:
        yield "files", "what the experiment file names in addition (workloads, functions) must be as "
        "it was"


def _said(context: dict[str, Any], key: str) -> str:
    return str(context.get(key, "not recorded"))

"""Sections as text for a terminal, and as the page docs/benchmarks.md."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from tabulate import tabulate

from benchmarks.experiment import Section, Table
from benchmarks.records import Context, Records

WIDTH: Final = 100
"""Of text on a terminal."""

INTRODUCTION: Final = """\
# Benchmarks

Written by `make bench ARGS=--write`. kon and its peers are measured in turn, on one machine. Trust
the ratios; other machines have other figures. A ratio is the median of all rounds, with the lowest
and the highest.

Other pages have their own figures: [videos](animoto.md), [the CloudKon experiment](cloudkon.md),
[a fleet of sixteen](fleet-lab.md).
"""

REPEAT: Final = """\
## To repeat it

    make bench                        # some ten minutes; tables on stdout, progress on stderr
    make bench ARGS=--quick           # a look, in a minute or two
    make bench ARGS='--only memory'   # one experiment; --list names them
    make bench ARGS=--write           # this page as well

A measurement is recorded in `benchmarks/records/`, and repeated only with `--again`, or when machine
or program change. Let nothing else run meanwhile, or have it wait: `sudo chrt --rr 1 make bench`.
"""

_AWS_BEGINS: Final = "\n<!-- what follows is written by `make bench-aws ARGS=--write` -->\n"

AWS: Final = """\
# On Amazon's services

kon's backend `aws` next to other task queues on SQS. All talk to the same [emulator](emulators.md),
MiniStack, on the same two cores. The figures compare what the programs make of their calls, and not
what Amazon's services would let through.
"""

AWS_REPEAT: Final = """\
## To repeat the part on Amazon's services

    make bench-aws                           # some five minutes; tables on stdout, progress on stderr
    make bench-aws ARGS=--quick              # a look, in a minute or two
    make bench-aws ARGS='--again --write'    # all again, and this part of the page

The peers are installed into `.cache/bench-aws`. Neither root nor an account is needed.
"""


def text(section: Section) -> str:
    parts = [section.title, "=" * len(section.title)]
    parts += [wrapped(finding) for finding in section.findings]
    parts += [f"\n{drawn(table, 'simple')}" for table in section.tables]
    if section.output:
        parts.append(f"\n{section.output}")
    if section.notes:
        parts.append("")
    parts += [wrapped(note) for note in section.notes]
    return "\n".join(parts) + "\n"


def page(sections: Sequence[Section], records: Records, before: str = "") -> str:
    """The page. before: what it is now; its part about Amazon's services stays as it is."""
    whole = "\n".join([INTRODUCTION, machine(records), *map(markdown, sections), REPEAT])
    return whole + _aws_part(before)


def page_with_aws(sections: Sequence[Section], records: Records, before: str) -> str:
    """The page with its part about Amazon's services written again, and the rest as it is."""
    rest = (before or f"{INTRODUCTION}\n").replace(_aws_part(before), "")
    part = [AWS, machine(records), *map(markdown, sections), AWS_REPEAT]
    return f"{rest}{_AWS_BEGINS}" + "\n".join(part)


def _aws_part(page: str) -> str:
    """From where it begins to the end of the page."""
    _, begins, part = page.partition(_AWS_BEGINS)
    return begins + part


def machine(records: Records) -> str:
    context = records.context
    dates = sorted({record.at[:10] for record in records.all})
    loads = [record.load for record in records.all]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    rows = [
        ("machine", f"{context.cores} cores, {context.machine}, {context.memory_gb} GB"),
        ("system", context.system),
        ("priority", context.priority),
        ("Python, SQLite", f"{context.python}, {context.sqlite}"),
        ("kon", f"{context.kon}, sources {context.sources}"),
        ("peers", peers(context)),
        ("date", when),
        ("load", f"{min(loads):.1f} to {max(loads):.1f}, the benchmarks' own included"),
    ]
    return tabulate(rows, headers=("", ""), tablefmt="github") + "\n"


def peers(context: Context) -> str:
    return ", ".join(f"{name} {version}" for name, version in context.peers.items())


def markdown(section: Section) -> str:
    blocks = [f"## {section.title}"]
    blocks += ["\n".join(f"- {one_line(finding)}" for finding in section.findings)]
    blocks += [drawn(table, "github") for table in section.tables]
    blocks += ["\n".join(f"    {line}".rstrip() for line in section.output.splitlines())]
    blocks += map(one_line, section.notes)
    return "\n\n".join(filter(None, blocks)) + "\n"


def drawn(table: Table, form: str) -> str:
    columns = range(len(table.headers))
    align = ["right" if all(is_number(row[at]) for row in table.rows) else "left" for at in columns]
    return tabulate(table.rows, table.headers, tablefmt=form, disable_numparse=True, colalign=align)


def is_number(cell: str) -> bool:
    return not cell or cell.replace(",", "").replace(".", "").isdecimal()


def one_line(prose: str) -> str:
    return " ".join(prose.split())


def wrapped(prose: str) -> str:
    return textwrap.fill(one_line(prose), WIDTH)

"""Figures that other benchmarks write to pages of their own, gathered for docs/benchmarks.md."""

from __future__ import annotations

from typing import Final, NamedTuple

from benchmarks.records import ROOT


class Part(NamedTuple):
    """What stands on a page of docs/ between two marks, and what writes it."""

    title: str
    page: str
    begin: str
    end: str
    command: str

    def read(self) -> str:
        """Raises ValueError where the page has not these marks."""
        _, begins, rest = (ROOT / "docs" / self.page).read_text().partition(f"\n{self.begin}\n")
        figures, ends, _ = rest.partition(f"\n{self.end}\n")
        if not (begins and ends):
            raise ValueError(f"docs/{self.page} has no {self.begin} ... {self.end}")
        return figures.strip()


PARTS: Final = (
    Part(
        "Videos from links, beside the older way",
        "animoto.md",
        "<!-- animoto: begin -->",
        "<!-- animoto: end -->",
        "python -m benchmarks.animoto --write",
    ),
    Part(
        "160 videos on 1 to 16 workers",
        "animoto.md",
        "<!-- animoto-160: begin -->",
        "<!-- animoto-160: end -->",
        "python -m benchmarks.animoto_160 --write",
    ),
    Part(
        "Simulated: tasks of no length a second, beside CloudKon's",
        "cloudkon.md",
        "<!-- throughput -->",
        "<!-- end -->",
        "python -m benchmarks.cloudkon --write",
    ),
    Part(
        "Simulated: efficiency on 64 workers, beside CloudKon's",
        "cloudkon.md",
        "<!-- efficiency -->",
        "<!-- end -->",
        "python -m benchmarks.cloudkon --write",
    ),
    Part(
        "A fleet of sixteen, on one machine",
        "fleet-lab.md",
        "<!-- what follows is written by `make lab-16` -->",
        "<!-- up to here -->",
        "make lab-16",
    ),
)


def gathered() -> str:
    """A section for each part, which says where it comes from."""
    return "\n".join(
        f"## {part.title}\n\n{part.read()}\n\nFrom [{part.page}]({part.page}), which says how it "
        f"was measured; `{part.command}` writes it.\n"
        for part in PARTS
    )

"""What `benchmarks/animoto.py` found, as text, and as a part of docs/animoto.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from tabulate import tabulate

PAGE: Final = Path(__file__).parent.parent / "docs" / "animoto.md"
FASTER, CHEAPER, SSIM_MEAN, SSIM_MIN, JOBS_A_MINUTE, PEAK_MB = 15, 30, 0.98, 0.96, 40, 400
"""The aims."""

_HEADS: Final = ["way", "wall s", "CPU s", "peak MB", "video MB", "SSIM mean", "SSIM min"]


class Likeness(msgspec.Struct, frozen=True):
    """SSIM of a video's pictures, against the letterboxed sources."""

    pictures: int
    ssim_mean: float
    ssim_min: float
    good: int
    """Pictures of `SSIM_MIN` and more."""


def likeness_of(scores: Sequence[float]) -> Likeness:
    good = sum(score >= SSIM_MIN for score in scores)
    return Likeness(len(scores), sum(scores) / len(scores), min(scores), good)


class Compared(msgspec.Struct, frozen=True):
    """rows: by way, with `way`, `wall_s`, `cpu_s`, `peak_mb`, `mb`, `ssim_mean`, `ssim_min`.
    kon_wall_s: the shortest and the longest of its rounds. jobs_a_minute, cpu_s_a_job, peak_mb: of four
    workers at once. large_peak_mb: of a job of very large images. wallpapers: None where there are none.
    """

    rows: Sequence[Mapping[str, Any]]
    photos_mb: float
    kon_wall_s: tuple[float, float]
    jobs_a_minute: float
    cpu_s_a_job: float
    peak_mb: float
    large_peak_mb: float
    wallpapers: Likeness | None = None


def text(compared: Compared, form: str = "simple") -> str:
    older, kon = ({row["way"]: row for row in compared.rows}[way] for way in ("older", "kon"))
    table = tabulate(
        [list(row.values()) for row in compared.rows],
        _HEADS,
        tablefmt=form,
        floatfmt=("", ".1f", ".1f", ".0f", ".1f", ".4f", ".4f"),
    )
    findings = [
        f"**{older['wall_s'] / kon['wall_s']:.1f}** times as fast as the older way (wanted: {FASTER}); "
        f"kon's rounds took {compared.kon_wall_s[0]:.1f} to {compared.kon_wall_s[1]:.1f} s",
        f"**{older['cpu_s'] / kon['cpu_s']:.1f}** times less CPU time (wanted: {CHEAPER})",
        f"SSIM **{kon['ssim_mean']:.3f}** on average (wanted: {SSIM_MEAN}), **{kon['ssim_min']:.3f}** at the "
        f"least (wanted: {SSIM_MIN})",
        f"4 workers at once: **{compared.jobs_a_minute:.0f}** jobs a minute (wanted: {JOBS_A_MINUTE}), "
        f"{compared.cpu_s_a_job:.1f} s of CPU a job, {compared.peak_mb:.0f} MB at most",
        f"22 images of 8 to 48 megapixels: **{compared.large_peak_mb:.0f}** MB at the peak (wanted: "
        f"{PEAK_MB} at most)",
    ]
    if (likeness := compared.wallpapers) is not None:
        findings.append(
            f"{likeness.pictures} wallpapers of up to 24 megapixels: SSIM **{likeness.ssim_mean:.3f}** on "
            f"average, **{likeness.ssim_min:.3f}** at the least; {likeness.good} of them have {SSIM_MIN} and "
            "more"
        )
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    where = (
        f"60 photos, {compared.photos_mb:.1f} MB; {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}, load at the end {load}, the "
        "benchmark's own included."
    )
    return "\n".join([table, "", *(f"- {finding}." for finding in findings), "", where])


def write(compared: Compared) -> Path:
    put("animoto", text(compared, "github"))
    return PAGE


def put(name: str, content: str, page: Path = PAGE) -> None:
    """Replace what stands between a name's marks on the page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name}: begin -->\n")
    _, end, after = rest.partition(f"<!-- {name}: end -->")
    if not (begin and end):
        raise ValueError(f"{page} has no marks for {name}")
    page.write_text(f"{before}{begin}\n{content}\n\n{end}{after}", encoding="utf-8")

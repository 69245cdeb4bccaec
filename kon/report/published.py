"""What others measured and published, by the number of workers: for the curves beside kon's.

A and B are two student clones of CloudKon, by their own reports of 2016, on t2.micro; a worker is an EC2
instance in their remote figures, and a thread in their local ones. CloudKon's sheet is that of a course
report of 2013 ("approximate"); its paper is Sadooghi et al., CCGrid 2014, as remembered, to be confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORKERS: Final = (1, 2, 4, 8, 16)
"""Of A's and B's figures."""

_Figures = Mapping[int, float]


def _by_workers(*figures: float) -> _Figures:
    return dict(zip(WORKERS, figures, strict=True))


SLEEP_0_PER_S: Final[Mapping[str, _Figures]] = {
    "A, remote": _by_workers(31.7, 62.2, 116.0, 236.0, 469.0),
    "B, remote": _by_workers(13.0, 21.2, 20.9, 20.3, 21.0),
    "A, local": _by_workers(7_812.0, 8_605.0, 8_614.0, 8_615.0, 8_659.0),
    "B, local": _by_workers(56_625.0, 57_904.0, 55_371.0, 55_066.0, 55_463.0),
}
"""Tasks a second, for 10,000 x sleep 0; B, local: for a million."""

CLOUDKON_PER_S: Final[Mapping[str, _Figures]] = {
    "CloudKon, sheet": {2: 400.0, 8: 900.0, 16: 1_500.0, 32: 3_500.0, 64: 5_735.0},
    "CloudKon, paper": {1: 238.0, 1_024: 119_000.0},
}
"""The same."""

EFFICIENCY: Final[Mapping[float, Mapping[str, _Figures]]] = {
    10.0: {
        "A, remote": _by_workers(99.3, 99.3, 99.4, 99.1, 99.3),
        "B, remote": _by_workers(94.0, 94.0, 93.0, 96.0, 97.0),
        "B, local": _by_workers(99.9, 99.9, 99.9, 99.9, 99.9),
    },
    1.0: {
        "A, remote": _by_workers(96.5, 95.0, 95.1, 85.3, 95.8),
        "B, remote": _by_workers(87.0, 83.0, 89.0, 89.0, 86.0),
        "B, local": _by_workers(99.9, 99.9, 99.9, 99.9, 99.9),
    },
    0.01: {
        "A, remote": _by_workers(24.6, 24.8, 22.7, 15.4, 24.3),
        "B, remote": _by_workers(10.0, 10.0, 5.0, 3.0, 2.0),
        "B, local": _by_workers(98.2, 98.2, 98.2, 97.9, 97.7),
    },
}
"""Ideal time / measured time in percent, by the tasks' seconds; 10, 100 or 1,000 of them for each worker."""

CLOUDKON_EFFICIENCY: Final[Mapping[int, int]] = {1: 3, 4: 11, 16: 38, 64: 69, 256: 79, 1_024: 90}
"""Percent, by the tasks' milliseconds, on 64 workers: CloudKon's sheet."""

ANIMOTO_MINUTES: Final[Mapping[str, _Figures]] = {
    "B, remote": _by_workers(463.0, 230.0, 118.0, 61.0, 32.0),
}
"""Of 160 videos of 60 images each."""

ANIMOTO_VIDEOS: Final = 160

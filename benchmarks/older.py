"""What the systems that kon starts from reported: two student clones of CloudKon, 2016, on t2.micro.

A worker is an EC2 instance in the remote figures, and a thread in the local ones.
"""

from __future__ import annotations

from typing import Final

WORKERS: Final = (1, 2, 4, 8, 16)

SLEEP_0_PER_S: Final = {
    "A, remote": (31.7, 62.2, 116.0, 236.0, 469.0),
    "B, remote": (13.0, 21.2, 20.9, 20.3, 21.0),
    "A, local": (7_812.0, 8_605.0, 8_614.0, 8_615.0, 8_659.0),
    "B, local": (56_625.0, 57_904.0, 55_371.0, 55_066.0, 55_463.0),
}
"""Tasks a second, for 10,000 x sleep 0; B, local: for a million."""

EFFICIENCY: Final = {
    10.0: {
        "A, remote": (99.3, 99.3, 99.4, 99.1, 99.3),
        "B, remote": (94.0, 94.0, 93.0, 96.0, 97.0),
        "B, local": (99.9, 99.9, 99.9, 99.9, 99.9),
    },
    1.0: {
        "A, remote": (96.5, 95.0, 95.1, 85.3, 95.8),
        "B, remote": (87.0, 83.0, 89.0, 89.0, 86.0),
        "B, local": (99.9, 99.9, 99.9, 99.9, 99.9),
    },
    0.01: {
        "A, remote": (24.6, 24.8, 22.7, 15.4, 24.3),
        "B, remote": (10.0, 10.0, 5.0, 3.0, 2.0),
        "B, local": (98.2, 98.2, 98.2, 97.9, 97.7),
    },
}
"""Ideal time / measured time in percent, by the tasks' seconds; 10, 100 or 1,000 of them for each worker."""

"""What workers tell Prometheus: counted batch by batch as they work, made into metrics when asked for.

Nothing here is imported by a worker that nobody asked for metrics.
"""

from kon.engine.watchers.address import METRICS, Address, asked_for
from kon.engine.watchers.endpoint import check_installed, check_reach, serving
from kon.engine.watchers.meter import Meter

__all__ = ["METRICS", "Address", "Meter", "asked_for", "check_installed", "check_reach", "serving"]

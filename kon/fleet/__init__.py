"""What a fleet has at Amazon, found by its tags in every region, priced, and removed: `kon sweep`."""

from kon.fleet.sweep import Found, look, remove

__all__ = ["Found", "look", "remove"]

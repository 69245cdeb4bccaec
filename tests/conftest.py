"""Fixtures that tests of several folders use."""

from __future__ import annotations

from tests.emulators import ministack, moto, on_ministack, on_moto

__all__ = ["ministack", "moto", "on_ministack", "on_moto"]

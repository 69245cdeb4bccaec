"""Stores and services that a run stands on, each a package of its own; emulators and prices next to them."""

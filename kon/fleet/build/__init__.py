"""A fleet made as it is declared, in a few calls: what is there already is left as it is."""

from kon.fleet.build.build import build, look
from kon.fleet.build.identity import kept_key
from kon.fleet.build.instances import end_hosts
from kon.fleet.build.network import let_in
from kon.fleet.build.survey import Survey
from kon.fleet.build.wanted import Change, Wanted, Work

__all__ = ["Change", "Survey", "Wanted", "Work", "build", "end_hosts", "kept_key", "let_in", "look"]

"""A strict Amazon: the rules of the real services that emulators lack, around an emulator.

Three parts: rights (IAM policies are enforced), rules (small answers with a memory: a queue that is not known
yet, a name that stays blocked), and one fault at a numbered call. docs/emulators.md has the table of rules.
"""

from kon.backends.emulator.strict.layer import CONTROL, Settings, State, Strict
from kon.backends.emulator.strict.middleware import Asgi, Wsgi
from kon.backends.emulator.strict.rules import RULES

__all__ = ["CONTROL", "RULES", "Asgi", "Settings", "State", "Strict", "Wsgi"]

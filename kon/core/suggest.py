"""The "did you mean" at the end of an error about an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the known name closest to `word`, or nothing where none is close."""
    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=1)
    return f', did you mean "{by_fold[close[0]]}"?' if close else ""

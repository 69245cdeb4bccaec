"""How an item gets into a shell command: as a variable, never as code.

Text that is pasted into a script is only as safe as its quoting, and the quoting that is right
depends on where it lands: `'my file'` inside double quotes is not a file, and `'$(reboot)'` inside
single quotes is a command. So a placeholder becomes the expansion of a variable, in quotes that fit
the place. Where the place is misread the worst is a word that is split: no item can run anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kon.core.errors import ConfigurationError

PLACEHOLDER: Final = re.compile(r"(?P<escaped>\\)?(?<!\$)(?P<placeholder>\{(?:\.|/|//|/\.|#)?\})")
"""After a `$` it is none: `${#}` is the shell's own."""

_PLAIN, _SINGLE, _DOUBLE, _ARITHMETIC = "plain", "single", "double", "arithmetic"

_ESCAPE: Final = r"(?P<escape>\\(?:.|\n))"
_TOKENS: Final = {
    _PLAIN: re.compile(
        rf"{PLACEHOLDER.pattern}|{_ESCAPE}|(?P<comment>(?:^|(?<=[\s;&|()]))\#[^\n]*)|(?P<newline>\n)"
        r"|(?P<here_string><<<)|(?P<here><<)|(?P<ansi>\$')|(?P<single>')|(?P<double>\")"
        r"|(?P<arithmetic>\$\(\()|(?P<open>\$?\()|(?P<close>\))|(?P<backquote>`)"
    ),
    _SINGLE: re.compile(rf"{PLACEHOLDER.pattern}|(?P<end>')"),
    _DOUBLE: re.compile(
        rf"{PLACEHOLDER.pattern}|{_ESCAPE}|(?P<end>\")|(?P<arithmetic>\$\(\()|(?P<open>\$\()|(?P<backquote>`)"
    ),
    _ARITHMETIC: re.compile(rf"{PLACEHOLDER.pattern}|(?P<arithmetic>\()|(?P<close>\)\)?)"),
}
_OPENS: Final = {"single": _SINGLE, "double": _DOUBLE, "open": _PLAIN, "arithmetic": _ARITHMETIC}

_EXPANSION: Final = {_PLAIN: '"${}"', _SINGLE: "'\"${}\"'", _DOUBLE: '""${}""'}
"""The expansion in double quotes of its own, after the quotes around it were closed and before they
are opened again. Every shell reads it so; `${...}` is not known to all."""


def item_as_variable(script: str, variables: Mapping[str, str]) -> str:
    """The script with the expansion of `variables[placeholder]` in place of each placeholder.

    Raises ConfigurationError for a placeholder at a place where no quotes can make it safe.
    """
    out: list[str] = []
    contexts = [_PLAIN]
    unfit: str | None = None  # what the scan is inside of, where a placeholder can't stand
    here_document = False
    position = 0
    while found := _TOKENS[contexts[-1]].search(script, position):
        out.append(script[position : found.start()])
        position = found.end()
        token, text = found.lastgroup or "", found[0]
        if token == "placeholder":
            if found["escaped"]:
                text = found["placeholder"]
            else:
                place = "$((...))" if contexts[-1] == _ARITHMETIC else unfit
                if place is not None:
                    raise ConfigurationError(_UNFIT.format(text, place, variables[text]))
                text = _EXPANSION[contexts[-1]].replace("{}", variables[text])
        elif token in _OPENS:
            contexts.append(_OPENS[token])
        elif token in ("close", "end"):
            if len(contexts) > 1:
                contexts.pop()
        elif token == "backquote":
            unfit = None if unfit == "backquotes" else unfit or "backquotes"
        elif token == "ansi":
            unfit = "$'...', or after it"
            contexts.append(_SINGLE)
        elif token == "here":
            here_document = True
        elif token == "newline" and here_document:
            unfit = "a here-document, or after it"
        out.append(text)
    return "".join(out) + script[position:]


_UNFIT: Final = (
    "the command has {} inside {}, where kon can't quote it; write ${} there, and quote it as the place needs"
)

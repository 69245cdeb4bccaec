"""How an item gets into a shell command: as a variable, never as code.

Text that is pasted into a script is only as safe as its quoting, and the quoting that is right
depends on where it lands: `'my file'` inside double quotes is not a file, and `'$(reboot)'` inside
single quotes is a command. So a placeholder becomes the expansion of a variable, in quotes that fit
the place. Where the place is misread the worst is a word that is split: no item can run anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kon.core.errors import ConfigurationError

PLACEHOLDER: Final = re.compile(
    r"(?P<escaped>\\)?(?<!\$)(?P<placeholder>\{(?:(?:[1-9][0-9]{0,3})?(?:\.|/|//|/\.)?|[#%])\})"
)
"""What may be a placeholder: whoever reads a template says which of them are. After a `$` it is none:
`${#}` is the shell's own."""

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

_NUMBERS: Final = frozenset({"{#}", "{%}"})
"""Placeholders that hold nothing which could be run."""

_UNFIT: Final = (
    "the command has {} inside {}, where kon can't quote it; write ${} there, and quote it as the place needs"
)


def item_as_variable(script: str, variables: Mapping[str, Sequence[str]]) -> str:
    """The script with the expansion of `variables[placeholder]` in place of each placeholder.

    What is not in `variables` is text. A placeholder of several variables becomes a word for each.
    Raises ConfigurationError for a placeholder at a place where no quotes can make it safe, and for one of
    several variables that is not a word of its own.
    """
    out: list[str] = []
    contexts = [_PLAIN]
    quotes = [0]  # where each of these begins
    unfit: str | None = None  # what the scan is inside of, where a placeholder can't stand
    here_document = False
    position = 0
    while found := _TOKENS[contexts[-1]].search(script, position):
        out.append(script[position : found.start()])
        position = found.end()
        token, text = found.lastgroup or "", found[0]
        if token == "placeholder":
            names = variables.get(found["placeholder"])
            if names is not None and found["escaped"]:
                text = found["placeholder"]
            elif names is not None:
                place = "$((...))" if contexts[-1] == _ARITHMETIC else unfit
                if place is not None:
                    raise ConfigurationError(_UNFIT.format(text, place, names[0] if names else "KON_ITEM"))
                if contexts[-1] in (_SINGLE, _DOUBLE) and text not in _NUMBERS:
                    start = quotes[-1]
                    is_alone = script[start : position + 1] == f"{script[start]}{text}{script[start]}"
                    if not is_alone:  # alone, the item is to be the code, whole
                        check_no_code(script[:start], text, names[0] if names else "KON_ITEM")
                if len(names) != 1 and not _is_a_word(script, found.start(), position, contexts[-1]):
                    raise ConfigurationError(several_in_a_word(text))
                text = " ".join(_EXPANSION[contexts[-1]].replace("{}", name) for name in names)
        elif token in _OPENS:
            contexts.append(_OPENS[token])
            quotes.append(found.start())
        elif token in ("close", "end"):
            if len(contexts) > 1:
                contexts.pop()
                quotes.pop()
        elif token == "backquote":
            unfit = None if unfit == "backquotes" else unfit or "backquotes"
        elif token == "ansi":
            unfit = "$'...', or after it"
            contexts.append(_SINGLE)
            quotes.append(found.start() + 1)
        elif token == "here":
            here_document = True
        elif token == "newline" and here_document:
            unfit = "a here-document, or after it"
        out.append(text)
    return "".join(out) + script[position:]


_INTERPRETER: Final = re.compile(
    r"(?:^|[\s;|&(/])(?:(?P<program>(?:ba|da|a|z|k|mk)?sh|fish|python[0-9.]*|perl|ruby|node|php|su(?:\s+\w+)?)"
    r"(?:\s+--?[\w=-]+)*\s+-[A-Za-z]*[cer]|eval(?:\s[^;|&\n]*)?)\s*$"
)
"""The end of a command line whose next word is code for an interpreter."""


def check_no_code(before: str, placeholder: str, variable: str) -> None:
    """Raises ConfigurationError where what stands before has an interpreter take the next word as code.

    To `bash -c 'echo {}'` no quoting helps: bash reads the item a second time. before: the script up to that
    word, or the words before it.
    """
    found = _INTERPRETER.search(before)
    if found is not None:
        program = found["program"] or "eval"
        raise ConfigurationError(
            f"the command has {placeholder} inside code for {program}, which would run what an item holds. "
            f"Hand it over as a word behind the code: sh -c 'echo \"$1\"' - {placeholder}. Or have the "
            f"code read the variable {variable} of its environment"
        )


_BEFORE_A_WORD: Final = frozenset(["", *" \t\n;|&(<>"])
_AFTER_A_WORD: Final = frozenset(["", *" \t\n;|&)<>"])


def _is_a_word(script: str, start: int, end: int, context: str) -> bool:
    """Whether what stands between is a word of its own: `a {} b`, and not `"{}"` or `{}.bak`."""
    before, after = script[start - 1 : start], script[end : end + 1]
    return context == _PLAIN and before in _BEFORE_A_WORD and after in _AFTER_A_WORD


def several_in_a_word(placeholder: str) -> str:
    """What is said of a placeholder that stands for several items and is not a word of its own."""
    part = placeholder[1:-1]
    return (
        f"{placeholder} stands for several items, and has to be a word of its own, without quotes or other "
        f"text around it. Write {{1{part}}}, {{2{part}}}, ... for one item each"
    )

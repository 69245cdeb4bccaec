"""Command templates: what is to be run for one item.

In a template, `{}` stands for the item, `{.}` for the item without its extension, `{/}` for its last
part, `{//}` for its folder, `{/.}` for its last part without extension and `{#}` for the task's
number, from 1: the placeholders of GNU parallel. A template without any gets the item at its end.
`\\{}` is a literal `{}`.

A list is an argument vector: each of its words is filled in as it is. A string is a shell command:
there a placeholder yields the item as one word whatever characters it holds (see kon.kinds.quoting).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from kon.core.errors import ConfigurationError
from kon.kinds.quoting import PLACEHOLDER, item_as_variable

DEFAULT_SHELL: Final = "/bin/sh"


class Call(NamedTuple):
    """What to run.

    argv: the program and its arguments.
    in_shell: what to run where argv turns out not to be a program: a shell may know the word.
    variables: to be put into the environment.
    """

    argv: list[str]
    in_shell: list[str] | None = None
    variables: Mapping[str, str] = {}


class ShellProgram:
    """The shell that string commands are for, and which of them can do without it."""

    def __init__(self, path: str, functions: frozenset[str]) -> None:
        """`functions`: names that the environment defines as functions of the shell."""
        self.path = path
        self._taken = _BUILT_IN | functions

    def argv(self, script: str) -> list[str]:
        # a script that starts with a dash would be read as an option
        return [self.path, "-c", f" {script}" if script.startswith(("-", "+")) else script]

    def plain_words(self, script: str) -> list[str] | None:
        """The words of a command that runs the same without the shell; None for any other.

        Placeholders count as words. Another shell than /bin/sh was named for a reason: it gets all.
        """
        if self.path != DEFAULT_SHELL or not _PLAIN.fullmatch(PLACEHOLDER.sub("x", script)):
            return None
        words = script.split()
        return None if words[0] in self._taken or PLACEHOLDER.search(words[0]) else words

    def call(self, script: str) -> Call:
        """A command that is no template."""
        in_shell = self.argv(script)
        words = self.plain_words(script)
        # without a template, `{}` is nothing but two braces
        if words is None or PLACEHOLDER.search(script):
            return Call(in_shell)
        return Call(words, in_shell)


class Template:
    """One template, read once and filled in for each task."""

    def __init__(self, command: str | Sequence[str], shell: ShellProgram) -> None:
        """Raises ConfigurationError for a template that is empty, or has a placeholder where none is safe."""
        first_word = command if isinstance(command, str) else "".join(command[:1])
        if not first_word.strip():
            raise ConfigurationError("the command is empty")
        self._command = command
        self._shell = shell
        used = placeholders(command)
        if isinstance(command, str) and _ITEM_VARIABLE.search(command):
            used.add("{}")
        form = _Form.of(command, shell)
        self._with_item = form if used else None
        self._without_item = form if used <= {_NUMBER} else None

    def call(self, item: str | None, number: int) -> Call:
        """`item` is None for a task that has none; `number` is the task's, from 1.

        Raises ConfigurationError where the template and the task do not go together.
        """
        if item is None:
            if self._without_item is None:
                raise ConfigurationError("the command names its item, and the task has none")
            return self._without_item.call("", number)
        if self._with_item is None:
            at_end = (
                f"{self._command.rstrip()} {{}}" if isinstance(self._command, str) else [*self._command, "{}"]
            )
            self._with_item = _Form.of(at_end, self._shell)
        return self._with_item.call(item, number)


class _Form(NamedTuple):
    """A template with all its placeholders in place."""

    words: list[str] | None
    in_shell: list[str] | None
    variables: Mapping[str, Callable[[str, int], str]]

    @classmethod
    def of(cls, command: str | Sequence[str], shell: ShellProgram) -> _Form:
        if not isinstance(command, str):
            return cls(list(command), None, {})
        used = placeholders(command) | {"{}", _NUMBER}  # a script may always ask for $KON_ITEM, $KON_NUMBER
        in_shell = shell.argv(item_as_variable(command, {each: _MEANING[each].variable for each in _MEANING}))
        variables = {_MEANING[each].variable: _MEANING[each].value for each in sorted(used)}
        return cls(shell.plain_words(command), in_shell, variables)

    def call(self, item: str, number: int) -> Call:
        variables = {name: value(item, number) for name, value in self.variables.items()}
        if self.words is None:
            assert self.in_shell is not None  # a form has words, or a script, or both
            return Call(self.in_shell, None, variables)
        return Call([fill(word, item, number) for word in self.words], self.in_shell, variables)


class _Meaning(NamedTuple):
    variable: str
    value: Callable[[str, int], str]


def _last_part(item: str) -> str:
    return posixpath.basename(item.rstrip("/")) or item[:1]


def _folder(item: str) -> str:
    return posixpath.dirname(item.rstrip("/")) or ("/" if item.startswith("/") else ".")


_MEANING: Final[Mapping[str, _Meaning]] = {
    "{}": _Meaning("KON_ITEM", lambda item, number: item),
    "{.}": _Meaning("KON_ITEM_NOEXT", lambda item, number: posixpath.splitext(item)[0]),
    "{/}": _Meaning("KON_ITEM_BASE", lambda item, number: _last_part(item)),
    "{//}": _Meaning("KON_ITEM_DIR", lambda item, number: _folder(item)),
    "{/.}": _Meaning("KON_ITEM_STEM", lambda item, number: posixpath.splitext(_last_part(item))[0]),
    "{#}": _Meaning("KON_NUMBER", lambda item, number: str(number)),
}
_NUMBER: Final = "{#}"

_ITEM_VARIABLE: Final = re.compile(r"\$\{?KON_ITEM")

_PLAIN: Final = re.compile(r"\s*[A-Za-z0-9_@+:,./-]+(?:[ \t]+[A-Za-z0-9_@%+:,./=-]+)*\s*")
"""Words that mean the same to a shell and to exec. The first holds no `=`, which would assign."""

_BUILT_IN: Final = frozenset(
    re.findall(
        r"\S+",
        """. : alias autoload bg bind break builtin caller case cd chdir command compgen complete
        continue coproc declare dirs disown do done echo elif else emulate enable esac eval exec
        exit export fc fg fi for function getopts hash help history if in integer jobs kill let
        limit local logout mapfile newgrp popd print printf pushd pwd read readarray readonly
        repeat return select set shift shopt source suspend test then time times trap type typeset
        ulimit umask unalias unset until wait whence which while""",
    )
)
"""First words that shells take for themselves, to an effect that a program of that name may not have.
`true` and `false` are left out: they are the same everywhere."""


def placeholders(command: str | Sequence[str]) -> set[str]:
    """Those that a template has."""
    text = command if isinstance(command, str) else "\0".join(command)
    return {found["placeholder"] for found in PLACEHOLDER.finditer(text) if not found["escaped"]}


def fill(word: str, item: str, number: int, quote: Callable[[str], str] | None = None) -> str:
    """A word of a template with its placeholders filled in.

    number: the task's, from 1. quote: what each value is passed through.
    """
    if "{" not in word:
        return word

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return found["placeholder"]
        meant = _MEANING[found["placeholder"]].value(item, number)
        return meant if quote is None else quote(meant)

    return PLACEHOLDER.sub(value, word)

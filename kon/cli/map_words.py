"""The words of `kon map`: which of them are the command and which the items. Nothing is guessed.

What could be read in two ways is refused, with both of them written out. The people who come here have the
habits of xargs, of GNU parallel or of neither, and a wrong guess runs the wrong command on their files.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import click

from kon.cli.output import is_stdin_closed
from kon.kinds.quoting import PLACEHOLDER

Stdin = Literal["none", "ended", "open"]
"""What standard input is: `none`, a terminal, /dev/null or closed; `ended`, a pipe or a file with nothing
left; `open`, one that may hold items."""


class ItemInput(NamedTuple):
    """Where items come from: words of the command line, a file, or (`-`) standard input.

    linked: its items go with those of the source before, the first with the first, and so on.
    """

    words: Sequence[str] | None = None
    file: str | None = None
    linked: bool = False


class Words(NamedTuple):
    """What the words mean."""

    command: str
    sources: list[ItemInput]


_SEPARATORS: Final = frozenset({":::", ":::+", "::::", "::::+"})
"""GNU parallel's words between a command and its items, and between its sources of items."""


def read_words(
    words: Sequence[str], arg_files: Sequence[str], stdin: Stdin, options: Mapping[str, bool]
) -> Words:
    """The command and the sources of its items. Raises UsageError for what can be read in two ways.

    options: those of kon map, and for each whether it takes a value.
    """
    at = next((at for at, word in enumerate(words) if word in _SEPARATORS), None)
    files = [ItemInput(file=file) for file in arg_files]
    if at is not None:
        sources = [*files, *_after_separators(words[at:], bool(files))]
        return Words(_joined(words[:at]), sources)
    if files:
        return Words(_joined(words), files)
    if not words:
        raise click.UsageError(
            "there is no command. To run each line of a file as a command: kon map 'sh -c {}' < FILE"
        )
    first, rest = words[0], words[1:]
    if _is_a_command_line(first):
        if any(map(_is_dashed, rest)):
            raise _options_behind(first, rest, options)
        return Words(first, [_items_behind(first, rest, stdin)])
    if not rest:
        return Words(first, [_from_stdin(stdin)])
    if stdin == "none":
        raise _bare_word(words)
    return Words(_joined(words), [_from_stdin(stdin)])


def _after_separators(words: Sequence[str], has_files: bool) -> list[ItemInput]:
    """The sources behind the command; the first word is a separator."""
    sources: list[ItemInput] = []
    starts = [at for at, word in enumerate(words) if word in _SEPARATORS]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        separator, values = words[start], list(words[start + 1 : end])
        linked = separator.endswith("+")
        if linked and not (sources or has_files):
            raise click.UsageError(
                f"{separator} links its items with those of the source before, and there is none; write "
                f"{separator[:-1]}"
            )
        if separator.startswith("::::"):
            if not values:
                raise click.UsageError(f"{separator} is followed by files of items, or - for standard input")
            sources += [ItemInput(file=file, linked=linked) for file in values]
        else:
            sources.append(ItemInput(values, linked=linked))
    return sources


def _items_behind(command: str, items: Sequence[str], stdin: Stdin) -> ItemInput:
    """The items of a command that is one word, a whole line: the words behind it, or standard input."""
    if not items:
        return _from_stdin(stdin)
    if stdin == "open":
        raise _two_ways(
            "there are items on the command line, and standard input may hold others",
            (_line([command], ":::", items), "the items of the line"),
            (_line([command]), "those of standard input"),
        )
    return ItemInput(items)


def _is_dashed(word: str) -> bool:
    return word.startswith("-")


def _options_behind(command: str, words: Sequence[str], options: Mapping[str, bool]) -> click.UsageError:
    """The error for words behind the command. Some of them begin like options."""
    dashed: list[str] = []
    others: list[str] = []
    are_known, takes_next = True, False
    for word in words:
        if takes_next or not _is_dashed(word):
            (dashed if takes_next else others).append(word)
            takes_next = False
            continue
        dashed.append(word)
        name = word.partition("=")[0]
        has_its_value = not name.startswith("--") and len(name) > 2 and options.get(name[:2], False)
        are_known &= name in options or has_its_value
        takes_next = name == word and options.get(name, False)
    text = " ".join(map(_shown, dashed))
    ways = [
        (_line([f"{command} {text}"], others), "options of the command"),
        (_line([command], ":::", words), "items"),
    ]
    if are_known:
        ways.insert(0, (_line(dashed, [command], others), "options of kon map"))
    return _two_ways(f'"{text:.80}" comes after the command, and begins like an option', *ways)


def _from_stdin(stdin: Stdin) -> ItemInput:
    if stdin == "none" and (sys.stdin.isatty() or is_stdin_closed()):
        raise click.UsageError(
            "no items: name them after ::: as in `kon map 'gzip {}' ::: *.log`, or send them to standard "
            "input, one a line"
        )
    return ItemInput(()) if stdin == "none" else ItemInput(file="-")


def _bare_word(words: Sequence[str]) -> click.UsageError:
    """The error for a bare word with others behind it, and nothing on standard input."""
    options = 1
    while options < len(words) and words[options].startswith("-"):
        options += 1
    ways = [(_line(words[:options], ":::", words[options:] or ["ITEM..."]), "a command, and items")]
    if options > 1:
        ways.append((_line(words[:1], ":::", words[1:]), f"{words[0]} for each word"))
    ways.append((f"... | {_line(words)}", "a command for each line of stdin"))
    return _two_ways(f'"{" ".join(words):.80}" may be a command, or a command and items', *ways)


_WIDE: Final = 44
"""Beyond this what a line means follows it at once, so that most fit into 80 columns."""


def _two_ways(fault: str, *ways: tuple[str, str]) -> click.UsageError:
    """`ways`: command lines, and what each of them means."""
    width = max(len(line) for line, _ in ways)
    lines = [f"  {line:<{min(width, _WIDE)}}  # {meaning}" for line, meaning in ways]
    return click.UsageError("\n".join([f"{fault}; nothing was run. Write one of", *lines]))


_LONGEST_LINE: Final = 300


def _line(*parts: Sequence[str] | str) -> str:
    """A command line of kon map, to be shown."""
    words: list[str] = []
    for part in parts:
        words += [part] if isinstance(part, str) else map(_shown, part)
    text = " ".join(["kon map", *words])
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} ..."


_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
"""What is one word to a shell, and nothing else."""


def _shown(word: str) -> str:
    return word if word == "ITEM..." or _PLAIN_WORD.fullmatch(PLACEHOLDER.sub("x", word)) else _quoted(word)


def _quoted(text: str) -> str:
    """As a person would quote it."""
    if "'" in text and not any(char in text for char in '$`"\\!'):
        return f'"{text}"'
    return shlex.quote(text)


def _is_a_command_line(word: str) -> bool:
    """Whether a word is a whole command: it has a blank, or a placeholder."""
    return any(char.isspace() for char in word) or bool(PLACEHOLDER.search(word)) or not word


def _joined(words: Sequence[str]) -> str:
    """The command in several words. Raises UsageError where a shell would read it as something else."""
    if not words:
        raise click.UsageError("there is no command before the items")
    if len(words) == 1:
        return words[0]
    for at, word in enumerate(words):
        plain = _PLAIN_WORD.fullmatch(PLACEHOLDER.sub("x", word))
        if not plain or (at == 0 and "=" in word):
            raise _two_ways(
                f'the command has several words, and "{word:.80}" is not a plain one',
                (f"kon map {_quoted(' '.join(map(_shown, words)))} ::: ...", "as xargs has it"),
                (f"kon map {_quoted(' '.join(words))} ::: ...", "as GNU parallel has it"),
            )
    return " ".join(words)


def replaced(command: str, replace: str) -> str:
    """The command with `{}` in place of what -I names; braces that were there are text.

    Raises UsageError where there is nothing to replace.
    """
    if replace == "{}":
        found = "{}" in command
    else:
        found = replace in command
        command = PLACEHOLDER.sub(lambda each: each[0] if each["escaped"] else f"\\{each[0]}", command)
        command = command.replace(replace, "{}")
    if not found:
        raise click.UsageError(f'-I: there is no "{replace}" in the command, so that no item would reach it')
    return command


_NOT_TAKEN: Final = re.compile(r"(?<![\\$'])\{(?:=.*?=|-[0-9]+[./]*|\.\.+|\+[./]+|##)\}")


def check_placeholders(command: str) -> None:
    """Raises UsageError for a placeholder of GNU parallel's that kon has not, lest it stands as text."""
    found = _NOT_TAKEN.search(command)
    if found is not None:
        raise click.UsageError(
            f"kon map has no placeholder {found[0]:.40}. $KON_ITEM holds the item, and the shell can cut it: "
            "${KON_ITEM%.*}. As text write '{' in quotes of its own: '{'..."
        )


def check_shell(command: str, shell: str) -> None:
    """Raises UsageError where the command is a function of bash's, and another shell is to run it."""
    words = command.split(maxsplit=1)
    if not words or os.path.basename(os.path.realpath(shell)) == "bash":  # noqa: PTH119 - as the system has it
        return
    if f"BASH_FUNC_{words[0]}%%" in os.environ:
        raise click.UsageError(
            f"{words[0]} is a function that bash has exported, and commands are run by {shell}, which may "
            "not know it; nothing was run. Add --shell bash"
        )


def stdin_now() -> Stdin:
    """What standard input is at this moment."""
    stream = sys.stdin
    try:
        fd = stream.fileno()
        found = os.fstat(fd)
    except (OSError, ValueError):
        return "none" if stream.isatty() else "open"
    if stat.S_ISCHR(found.st_mode):
        return "none"
    if stat.S_ISREG(found.st_mode):
        return "open" if found.st_size > os.lseek(fd, 0, os.SEEK_CUR) else "ended"
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    events = poll.poll(0)
    ended = bool(events) and bool(events[0][1] & select.POLLHUP) and not events[0][1] & select.POLLIN
    return "ended" if ended else "open"

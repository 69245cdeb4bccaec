"""Which words of `kon map` are the command and which the items; what could be either is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kon.cli.map import map_
from kon.cli.map_options import NOT_TAKEN
from kon.cli.map_words import (
    ItemInput,
    Stdin,
    check_placeholders,
    check_shell,
    read_words,
    replaced,
    stdin_now,
)
from tests.cli.mapping import kon_map

STDIN = ItemInput(file="-")

OPTIONS = {"-k": False, "--keep-order": False, "-j": True, "--out": True}
"""Some of kon map's, and whether they take a value."""


def refused(words: list[str], stdin: Stdin = "none", files: tuple[str, ...] = ()) -> str:
    with pytest.raises(click.UsageError) as raised:
        read_words(words, files, stdin, OPTIONS)
    return raised.value.message


@pytest.mark.parametrize(
    ("words", "stdin", "command", "sources"),
    [
        # with a separator the command has as many words as it likes
        (["gzip", "-k", ":::", "a", "-b"], "open", "gzip -k", [ItemInput(["a", "-b"])]),
        (["gzip -k {}", ":::", "a"], "none", "gzip -k {}", [ItemInput(["a"])]),
        (
            ["x", "{1}", ":::", "A", "B", ":::", "1"],
            "none",
            "x {1}",
            [ItemInput(["A", "B"]), ItemInput(["1"])],
        ),
        (["x", ":::", "a", ":::+", "b"], "none", "x", [ItemInput(["a"]), ItemInput(["b"], linked=True)]),
        (["x", "::::", "f", "-", ":::", "a"], "none", "x", [ItemInput(file="f"), STDIN, ItemInput(["a"])]),
        (["x", ":::"], "none", "x", [ItemInput([])]),
        # a whole command line, then items
        (["gzip -k", "a", "b"], "ended", "gzip -k", [ItemInput(["a", "b"])]),
        (["{}", "a"], "none", "{}", [ItemInput(["a"])]),
        (["gzip -k"], "open", "gzip -k", [STDIN]),
        (["gzip"], "open", "gzip", [STDIN]),
        # a bare word, with items on standard input
        (["gzip", "-k"], "open", "gzip -k", [STDIN]),
        (["echo", "hello", "{}"], "ended", "echo hello {}", [STDIN]),
    ],
)  # fmt: skip
def test_what_is_command_and_what_is_items(
    words: list[str], stdin: Stdin, command: str, sources: list[ItemInput]
) -> None:
    assert read_words(words, (), stdin, OPTIONS) == (command, sources)


def test_a_file_of_items_is_a_separator_too() -> None:
    assert read_words(["gzip", "-k"], ["f", "g"], "open", OPTIONS) == (
        "gzip -k",
        [ItemInput(file="f"), ItemInput(file="g")],
    )
    assert read_words(["x", ":::+", "a"], ["f"], "none", OPTIONS).sources == [
        ItemInput(file="f"),
        ItemInput(["a"], linked=True),
    ]


def test_a_bare_word_with_others_and_no_items() -> None:
    """`gzip -k x.log` would take -k for an item, and remove x.log."""
    assert refused(["gzip", "-k", "x.log"]).splitlines() == [
        '"gzip -k x.log" may be a command, or a command and items; nothing was run. Write one of',
        "  kon map gzip -k ::: x.log    # a command, and items",
        "  kon map gzip ::: -k x.log    # gzip for each word",
        "  ... | kon map gzip -k x.log  # a command for each line of stdin",
    ]
    assert refused(["echo", "a"]).splitlines()[1:] == [
        "  kon map echo ::: a    # a command, and items",
        "  ... | kon map echo a  # a command for each line of stdin",
    ]


def test_items_on_the_line_and_on_standard_input() -> None:
    assert refused(["echo {}", "a"], "open").splitlines()[1:] == [
        "  kon map 'echo {}' ::: a  # the items of the line",
        "  kon map 'echo {}'        # those of standard input",
    ]


@pytest.mark.parametrize("stdin", ["none", "ended", "open"])
def test_options_behind_the_command(stdin: Stdin) -> None:
    assert refused(["gzip {}", "a", "-k"], stdin).splitlines() == [
        '"-k" comes after the command, and begins like an option; nothing was run. Write one of',
        "  kon map -k 'gzip {}' a      # options of kon map",
        "  kon map 'gzip {} -k' a      # options of the command",
        "  kon map 'gzip {}' ::: a -k  # items",
    ]


@pytest.mark.parametrize(
    ("words", "options", "others"),
    [
        (["--out", "x", "-j4"], "--out x -j4", ""),
        (["-j", "4", "a", "--out=x", "b"], "-j 4 --out=x", " a b"),
        (["a", "--out"], "--out", " a"),
        (["--keep-order", "a"], "--keep-order", " a"),
    ],
)
def test_an_option_behind_the_command_is_moved_with_its_value(
    words: list[str], options: str, others: str
) -> None:
    assert f"  kon map {options} 'gzip {{}}'{others}  " in refused(["gzip {}", *words], "open")


def test_a_value_with_blanks_stays_one_word_in_each_way(tmp_path: Path) -> None:
    ways = refused(["printf '%s|' {}", "--out", "a  b", "i"], "none").splitlines()[1:]
    lines = [
        way.split("  # ")[0].replace("kon map", "kon map --dry-run").replace("--dry-run --out", "--out")
        for way in ways[1:]
    ]
    shown = [
        subprocess.run(["sh", "-c", each], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for each in lines
    ]
    assert "--out 'a  b'" in ways[0]
    assert "'a  b'" in shown[0]
    assert len(shown[1].splitlines()) == 3, "three items"


def test_the_options_are_those_that_kon_map_has() -> None:
    done = kon_map("echo {}", "--out", "x", "-j", "2", "-k", "a")
    assert done.code == 2
    assert "  kon map --out x -j 2 -k 'echo {}' a  " in done.err


@pytest.mark.parametrize("word", ["-5", "--outt=3", "--ou", "-kj", "-", "--", "-k4"])
def test_what_is_no_option_of_kon_map_is_not_shown_as_one(word: str) -> None:
    said = refused(["gzip {}", word])
    assert "options of kon map" not in said
    assert said.splitlines()[-1].endswith("# items")


@pytest.mark.parametrize("word", ["a b", "$HOME", "|", "*.txt", "it's", "a;b", "", "(x)"])
@pytest.mark.parametrize(("behind", "stdin"), [([":::", "f"], "none"), ([], "open")])
def test_several_words_that_are_not_plain(word: str, behind: list[str], stdin: Stdin) -> None:
    """xargs would hand the word on as it is; GNU parallel would have a shell read it."""
    said = refused(["grep", word, *behind], stdin)
    assert "the command has several words" in said
    assert "# as xargs has it" in said
    assert "# as GNU parallel has it" in said


def test_both_ways_of_writing_it_are_what_they_say(tmp_path: Path) -> None:
    lines = refused(["printf", "%s|", "a  b", ":::", "f"]).splitlines()[1:]
    commands = [
        line.split("#")[0].replace("kon map", "kon map --dry-run").replace("...", "f") for line in lines
    ]
    shown = [
        subprocess.run(["sh", "-c", each], env=os.environ, capture_output=True, text=True, check=True).stdout
        for each in commands
    ]
    assert shown == ["printf '%s|' 'a  b' f\n", "printf %s| a  b f\n"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is no command. To run each line of a file as a command: kon map 'sh -c {}' < FILE"),
        ([":::", "a"], "there is no command before the items"),
        (["x", ":::+", "a"], ":::+ links its items with those of the source before, and there is none"),
        (["x", "::::"], ":::: is followed by files of items"),
        (["FOO=1", "x", ":::", "a"], "the command has several words"),
    ],
)
def test_what_can_not_be(words: list[str], said: str) -> None:
    assert said in refused(words)


def test_a_terminal_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert stdin_now() == "none"
    assert "no items: name them after :::" in refused(["gzip"])
    assert "no items: name them after :::" in refused(["gzip {}"])


class TestStdin:
    def now(self, **options: object) -> str:
        code = "from kon.cli.map_words import stdin_now; print(stdin_now())"
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, **options
        )  # type: ignore[call-overload]
        return str(ran.stdout.strip())

    def test_nothing(self) -> None:
        assert self.now(stdin=subprocess.DEVNULL) == "none"

    def test_a_pipe(self) -> None:
        assert self.now(input="") == "ended"
        assert self.now(input="a\n") == "open"
        ours, theirs = os.pipe()
        assert self.now(stdin=ours) == "open"  # somebody may yet write to it
        os.close(theirs)
        assert self.now(stdin=ours) == "ended"
        os.close(ours)

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a\nb\n")
        with (tmp_path / "f").open() as file:
            assert self.now(stdin=file) == "open"
            os.lseek(file.fileno(), 0, os.SEEK_END)
            assert self.now(stdin=file) == "ended"


class TestReplace:
    def test_what_it_names_stands_for_the_item(self) -> None:
        assert replaced("mv % %.bak", "%") == "mv {} {}.bak"
        assert replaced("echo {} @", "@") == r"echo \{} {}"
        assert replaced("echo {}", "{}") == "echo {}"

    @pytest.mark.parametrize("replace", ["%", "{}"])
    def test_what_is_not_there(self, replace: str) -> None:
        with pytest.raises(click.UsageError, match="so that no item would reach it"):
            replaced("echo x", replace)


@pytest.mark.parametrize("text", ["{..}", "{-1}", "{= s/a/b/ =}", "{+/}", "{##}", "{-2.}"])
def test_placeholders_that_kon_has_not(text: str) -> None:
    with pytest.raises(click.UsageError, match="has no placeholder"):
        check_placeholders(f"echo {text}")
    check_placeholders(f"echo '{text}")


def test_functions_of_bash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASH_FUNC_f%%", "() { echo $1; }")
    with pytest.raises(click.UsageError, match=r"f is a function that bash has exported.* Add --shell bash"):
        check_shell("f {}", "/bin/dash")
    check_shell("f {}", "/bin/bash")
    check_shell("g {}", "/bin/dash")


class TestPage:
    """docs/kon-map.md names each option, and says of each that is not taken what there is instead."""

    PAGE = (Path(__file__).parents[2] / "docs" / "kon-map.md").read_text()

    def test_every_option_is_there(self) -> None:
        names = {name for each in map_.params if isinstance(each, click.Option) for name in each.opts}
        _, _, tables = self.PAGE.partition("## For those who come from")
        assert {name for name in names if f"`{name}`" not in tables} == set()

    def test_every_option_that_is_not_taken_is_there_with_its_reason(self) -> None:
        rows = [line.split(" | ") for line in self.PAGE.splitlines() if line.startswith("| `-")]
        reasons = {name: row[1] for row in rows for name in row[0].strip("| `").split("`, `")}
        shown = {name: reasons.get(name, "").removesuffix(" |").replace("\\|", "|") for name in NOT_TAKEN}
        assert shown == NOT_TAKEN

    def test_what_is_taken_is_not_refused(self) -> None:
        names = {name for each in map_.params for name in each.opts}
        assert names & set(NOT_TAKEN) == set()

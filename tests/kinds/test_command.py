"""Templates: what is run for an item, and that an item is never code."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kon.core.errors import ConfigurationError
from kon.kinds.command import Invocation, ShellProgram, Template

SHELL = ShellProgram("/bin/sh", frozenset())


def in_shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def call(command: str | list[str], item: str | None, number: int = 1) -> Invocation:
    return Template(command, SHELL).call(item, number)


def output(command: str | list[str], item: str | None = None, number: int = 1) -> str:
    """What the command prints, run as kon runs it."""
    made = call(command, item, number)
    done = subprocess.run(made.argv, env={"PATH": "/usr/bin:/bin", **made.variables}, capture_output=True)
    return done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize(
    ("placeholder", "item", "value"),
    [
        ("{}", "a/b.c.txt", "a/b.c.txt"),
        ("{.}", "a/b.c.txt", "a/b.c"),
        ("{.}", "a.b/c", "a.b/c"),
        ("{.}", ".profile", ".profile"),
        ("{/}", "a/b.c.txt", "b.c.txt"),
        ("{/}", "a/b/", "b"),
        ("{/}", "/", "/"),
        ("{//}", "a/b.c.txt", "a"),
        ("{//}", "b.txt", "."),
        ("{//}", "/b", "/"),
        ("{//}", "/", "/"),
        ("{//}", "a/b/", "a"),
        ("{/.}", "a/b.c.txt", "b.c"),
        ("{#}", "whatever", "7"),
    ],
)
def test_placeholders(placeholder: str, item: str, value: str) -> None:
    assert call(["x", placeholder], item, 7).argv == ["x", value]
    assert call(["x", f"<{placeholder}>"], item, 7).argv == ["x", f"<{value}>"]
    assert call(f"x --of={placeholder}", item, 7).argv == ["x", f"--of={value}"]
    assert output(f"printf %s {placeholder} '<{placeholder}>'", item, 7) == f"{value}<{value}>"


def test_a_template_without_a_placeholder_gets_the_item_at_its_end() -> None:
    assert call("gzip -k", "a b").argv == ["gzip", "-k", "a b"]
    assert call(["gzip", "-k"], "a b").argv == ["gzip", "-k", "a b"]
    assert output("printf '<%s>' x |\n cat -\n", "-") == "<x>"
    assert output("cd / && printf '<%s>'\n", "a  b") == "<a  b>"


def test_a_task_without_an_item_gets_nothing_at_its_end() -> None:
    assert call("true", None).argv == ["true"]
    assert call(["true"], None).argv == ["true"]
    assert call("seq {#}", None, 3).argv == ["seq", "3"]
    for command in ("gzip {}", ["gzip", "{.}"], 'gzip "$KON_ITEM"'):
        with pytest.raises(ConfigurationError, match="the task has none"):
            call(command, None)


def test_an_escaped_placeholder_is_two_braces() -> None:
    assert call(["x", r"\{}", "{}"], "item").argv == ["x", "{}", "item"]
    assert output(r"printf %s\\n \{} '\{/}' {}", "item") == "{}\n{/}\nitem\n"
    # the shell's own, after a dollar sign
    assert output("printf %s ${#}{}", "item") == "0item"


nasty = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.text(
    "'\"\\$`(){};&|<>*?[]~#!\n -=abc", max_size=20
)


@given(nasty)
@example("$(echo no)")
@example("'; echo no; '")
@example('"; echo no; "')
@example("`echo no`")
@example("-n")
@example("*")
@example("a\n")
@example("")
@settings(max_examples=150, deadline=None)
def test_no_item_is_ever_code(item: str) -> None:
    script = (
        "printf '[%s]' {}; printf '[%s]' \"{}\"; printf '[%s]' '{}'; printf '[%s]' a\\'{}b\"c'{}d\"; "
        "printf '[%s]' \"$(printf '<%s>' {} | cat; echo .)\" # it's {}\n"
        "(printf '[%s]' {}); f() { printf '[%s]' {}; }; f argument"
    )
    assert output(script, item) == (
        f"[{item}][{item}][{item}][a'{item}bc'{item}d][<{item}>.][{item}][{item}]"
    )


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("echo `basename {}`", "backquotes"),
        ('echo "`basename {}`"', "backquotes"),
        ("echo $((1 + {}))", "$((...))"),
        ("echo $(( (1 + {}) ))", "$((...))"),
        ("cat <<END\n{}\nEND", "a here-document"),
        ("echo $'it\\'s {}'", "$'...'"),
    ],
)
def test_a_placeholder_is_refused_where_it_can_not_be_quoted(script: str, place: str) -> None:
    with pytest.raises(ConfigurationError, match=r"kon can't quote it; write \$KON_ITEM there") as raised:
        Template(script, SHELL)
    assert place in str(raised.value)


def test_what_only_looks_like_such_a_place_is_fine() -> None:
    assert output("echo `echo x` {}", "a  b") == "x a  b\n"
    assert output("echo $((1 + 2)) $(( (1) )) {}", "a  b") == "3 1 a  b\n"
    assert output("echo '`' {} '`' \\` {}", "a  b") == "` a  b ` ` a  b\n"
    assert output("cat <<END\n$KON_ITEM $((1))\nEND", "a  $(echo b)") == "a  $(echo b) 1\n"


@pytest.mark.parametrize(
    "command", ["gzip -k {}", "true", "/bin/ls -l --color=never ./{/} a,b @x", "  true  \n"]
)
def test_plain_words_need_no_shell(command: str) -> None:
    made = call(command, "i")
    assert made.argv[0] != "/bin/sh"
    assert made.in_shell is not None
    assert made.in_shell[:2] == ["/bin/sh", "-c"]


@pytest.mark.parametrize(
    "command",
    [
        "echo {}",  # a built-in, which may write something else than the program of that name
        "cd {}",
        "A=1 env",
        "ls ~",
        "ls *.c",
        "ls a?",
        "ls [ab]",
        "ls {} > x",
        "ls | wc",
        "ls; ls",
        "ls & ls",
        "ls $HOME",
        "ls 'a b'",
        "ls \\a",
        "ls # all",
        "! ls",
        "ls\nls",
        "{} x",
        "[ a = b ]",
        "time ls",
        "%1",
        "if true",
    ],
)
def test_all_else_is_for_the_shell(command: str) -> None:
    made = call(command, "i")
    assert made.argv[0] == "/bin/sh"
    assert made.in_shell is None


def test_a_shell_that_was_asked_for_gets_everything() -> None:
    assert Template("gzip {}", ShellProgram("/bin/bash", frozenset())).call("i", 1).argv == [
        "/bin/bash",
        "-c",
        'gzip "$KON_ITEM"',
    ]


def test_a_function_of_the_shell_goes_before_a_program() -> None:
    shell = ShellProgram("/bin/sh", frozenset({"gzip"}))
    assert Template("gzip {}", shell).call("i", 1).argv[0] == "/bin/sh"
    assert Template("gzip2 {}", shell).call("i", 1).argv[0] == "gzip2"


def test_a_command_that_is_no_template_keeps_its_braces() -> None:
    assert SHELL.call("find . -name x").argv == ["find", ".", "-name", "x"]
    assert SHELL.call("find . -exec ls {} +").argv == in_shell("find . -exec ls {} +")


def test_a_script_that_starts_with_a_dash_is_no_option() -> None:
    assert SHELL.argv("-e; echo x") == in_shell(" -e; echo x")
    assert "not found" in output("-e; echo {}", "x")


@pytest.mark.parametrize("command", ["", "  ", [], ["", "x"], [" "]])
def test_an_empty_command_is_refused(command: str | list[str]) -> None:
    with pytest.raises(ConfigurationError, match="the command is empty"):
        Template(command, SHELL)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo $((KON_ITEM * 2))", "10\n"),
        ("test $(( KON_ITEM % 17 )) != 0; echo $?", "0\n"),
        ("echo $(( (1 + 2) *\nKON_ITEM ))", "15\n"),
        ("echo $((1)) KON_ITEM", "1 KON_ITEM 5\n"),  # no arithmetic: the item comes last, as xargs has it
        ("echo $((1 + MY_KON_ITEM))", "1 5\n"),
    ],
)
def test_arithmetic_has_the_item_without_a_dollar(command: str, said: str) -> None:
    assert output(command, "5") == said


def test_a_script_may_ask_for_its_number_and_item_without_a_placeholder() -> None:
    assert output("echo $KON_NUMBER; true {}", "x") == "1\n"
    assert call("echo $KON_NUMBER; true", None, 7).variables["KON_NUMBER"] == "7"


class TestSeveralItems:
    def call(self, command: str | list[str], *items: str, slot: int | None = 3) -> Invocation:
        return Template(command, SHELL, positions=True).call(list(items), 7, slot)

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("x {1} {2}", ["x", "a/b.c", "d e"]),
            ("x {2} {1} {2}", ["x", "d e", "a/b.c", "d e"]),
            ("x {1/} {1//} {1.} {1/.}", ["x", "b.c", "a", "a/b", "b"]),
            ("x {}", ["x", "a/b.c", "d e"]),
            ("x {/} -", ["x", "b.c", "d e", "-"]),
            ("x", ["x", "a/b.c", "d e"]),
            ("x {%} {#}", ["x", "3", "7"]),
            ("x -{1}-", ["x", "-a/b.c-"]),
        ],
    )
    def test_placeholders(self, command: str, words: list[str]) -> None:
        """The same from words, from a plain line, and from a script."""
        assert self.call(command.split(), "a/b.c", "d e").argv == words
        assert self.call(command, "a/b.c", "d e").argv == words
        made = self.call(f"set -- {command}; printf '%s|' \"$@\"", "a/b.c", "d e") if command != "x" else None
        if made is not None:
            done = subprocess.run(made.argv, env={**made.variables}, capture_output=True, check=True)
            assert done.stdout.decode() == "".join(f"{word}|" for word in words)

    @pytest.mark.parametrize("command", ['x "{}"', "x {}.bak", "x '{}'; y", "x -{/}", "x a{}"])
    def test_one_placeholder_for_several_is_a_word_of_its_own(self, command: str) -> None:
        with pytest.raises(ConfigurationError, match=r"stands for several items.* Write \{1/?\}, \{2/?\}"):
            self.call(command, "a", "b")
        assert self.call(command, "a")  # of one item it may stand anywhere
        with pytest.raises(ConfigurationError, match="stands for several items"):
            self.call(["x", "a{}"], "a", "b")

    def test_a_position_that_the_task_has_not(self) -> None:
        with pytest.raises(ConfigurationError, match=r"the command has \{3\}, and the task 2 items"):
            self.call("x {3}", "a", "b")

    def test_without_positions_it_is_text(self) -> None:
        """As in the experiment files of before."""
        assert Template(["x", "{1}", "{%}", "{}"], SHELL).call("f", 1).argv == ["x", "{1}", "{%}", "f"]
        assert output("printf '%s|' a{2} {%} {1}", "f") == "a{2}|{%}|{1}|f|"


class TestCodeForAnInterpreter:
    """`bash -c 'echo {}'` would run what an item holds, however kon quotes it."""

    @pytest.mark.parametrize(
        "command",
        [
            "bash -c 'echo {}'",
            'sh -c "echo {}"',
            "sudo -u x /bin/bash -ec 'echo {.}'",
            "cd x && bash --norc -c 'echo {}' | cat",
            "python3 -c 'print(\"{}\")'",
            "perl -pe 's/a/{}/' f",
            "su user -c 'rm {}'",
            "eval 'echo {}'",
            "eval x 'echo {}'",
            ["bash", "-c", "echo {}"],
            ["env", "A=b", "sh", "-c", "rm {/}"],
        ],
    )
    def test_no_item_is_a_piece_of_it(self, command: str | list[str]) -> None:
        with pytest.raises(
            ConfigurationError, match=r"inside code for \w+.*, which would run what an item holds"
        ):
            call(command, "$(reboot)")

    @pytest.mark.parametrize(
        "command",
        [
            "bash -c 'printf %s \"$1\"' - {}",
            "bash -c 'printf %s \"$KON_ITEM\"'; : {}",
            ["sh", "-c", 'printf %s "$1"', "-", "{}"],
        ],
    )
    def test_it_can_be_handed_over(self, command: str | list[str]) -> None:
        assert output(command, "$(echo pwned)") == "$(echo pwned)"

    @pytest.mark.parametrize(
        "command", ["sh -c {}", "sh -c '{}'", 'sh -c "{}"', ["sh", "-c", "{}"], "eval {}"]
    )
    def test_an_item_may_be_all_of_it(self, command: str | list[str]) -> None:
        """As for lines of a file that are commands."""
        assert output(command, "echo $((1 + 1))") == "2\n"

    def test_other_programs_may_have_such_options(self) -> None:
        assert output("printf %s -c 'x{}'", "$(x)") == "-cx$(x)"
        assert call("python tool.py -c 'conf-{}'", "a").argv[0] == "/bin/sh"
        assert call("grep -e 'a{}' f", "a").argv[0] == "/bin/sh"

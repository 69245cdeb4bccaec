"""The kind `shell`: what commands are run with, and what becomes of how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError
from kon.core.kind import Attempt, Kind
from kon.kinds.shell import Shell
from kon.kinds.start import PER_COMMAND
from tests.kinds.running import attempt, execute, failure, open_files, with_kind


def test_the_result_is_how_it_ended_and_what_it_wrote() -> None:
    assert execute(Shell({}), "echo out; echo err >&2") == {"exit": 0, "stdout": "out\n", "stderr": "err\n"}
    assert execute(Shell({}), ["printf", "%s|%s", "a b", 3]) == {"exit": 0, "stdout": "a b|3", "stderr": ""}
    assert execute(Shell({"command": "printf %s {#}: {}"}), "a b", index=4)["stdout"] == "5:a b"
    assert execute(Shell({"command": ["printf", "%s %s", 7]}), 2.5)["stdout"] == "7 2.5"


def test_an_item_that_is_longer_than_an_argument_may_be() -> None:
    """How it can be given to the command is said."""
    for command in ("cat", "cat {};"):
        told = str(failure(Shell({"command": command}), "x" * 200_000))
        assert "too long for this system, one with 200,000 bytes. A command can read its item from" in told
    reads = Shell({"command": "wc -c; echo ${KON_ITEM-none}", "stdin_item": True})
    assert execute(reads, "x" * 200_000)["stdout"].split() == ["200001", "none"]
    assert execute(reads, "x")["stdout"].split() == ["2", "x"]
    named = Shell({"command": "wc -c; echo {}", "stdin_item": True})
    assert "too long for this system" in str(failure(named, "x" * 200_000))


def test_a_task_knows_where_it_is() -> None:
    result = execute(Shell({}), "echo $KON_RUN $KON_TASK $KON_ATTEMPT", index=41, number=3)
    assert result["stdout"] == "a-run 41 3\n"


def test_the_environment_is_the_workers_with_what_the_workload_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FROM_WORKER", "w")
    monkeypatch.setenv("IN_BOTH", "w")
    kind = Shell({"env": {"IN_BOTH": "ü", "NUMBER": 7}})
    assert execute(kind, "echo $FROM_WORKER $IN_BOTH $NUMBER")["stdout"] == "w ü 7\n"


def test_the_folder_it_runs_in(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\necho $PWD")
    (tmp_path / "script").chmod(0o755)
    kind = Shell({"cwd": str(tmp_path)})
    assert execute(kind, "pwd")["stdout"] == f"{tmp_path}\n"
    assert execute(kind, ["./script"])["stdout"] == f"{tmp_path}\n"
    error = failure(Shell({"cwd": str(tmp_path / "none")}), "pwd")
    assert str(error) == f'can\'t run in the folder "{tmp_path}/none" (cwd): No such file or directory'


@pytest.mark.parametrize("text", ["", "one\ntwo ü {}", "x" * 200_000])
def test_what_it_reads(text: str) -> None:
    kind = Shell({"stdin": text, "max_output_bytes": 300_000})
    assert execute(kind, "cat")["stdout"] == text
    assert execute(kind, "true")["exit"] == 0  # it need not read it


def test_it_reads_nothing_by_default() -> None:
    assert execute(Shell({}), "cat; wc -c")["stdout"].strip() == "0"


def test_an_exit_code_that_is_not_ok_is_a_failed_attempt() -> None:
    error = failure(Shell({}), "echo so far; echo first >&2; echo 'no  luck ' >&2; echo >&2; exit 3")
    assert str(error) == "exit 3: no  luck"
    assert error.result == {"exit": 3, "stdout": "so far\n", "stderr": "first\nno  luck \n\n"}
    assert str(failure(Shell({}), "false")) == "exit 1"
    assert str(failure(Shell({}), f"echo {'x' * 1_000} >&2; exit 1")) == f"exit 1: {'x' * 300}"


def test_exit_codes_that_are_ok() -> None:
    kind = Shell({"ok_exit_codes": [1, 143]})
    assert execute(kind, "exit 1")["exit"] == 1
    assert execute(kind, ["sh", "-c", "kill $$"])["exit"] == 143
    assert str(failure(kind, "true")) == "exit 0"


@pytest.mark.parametrize(
    ("body", "says", "result"),
    [
        (["sh", "-c", "kill -SEGV $$"], "killed by SIGSEGV", {"exit": 139, "signal": "SIGSEGV"}),
        (
            ["sh", "-c", "kill -KILL $$"],
            "killed by SIGKILL (perhaps because memory ran out)",
            {"exit": 137, "signal": "SIGKILL"},
        ),
        ("sh -c 'kill -TERM $$'; exit $?", "exit 143 (as after SIGTERM)", {"exit": 143}),
    ],
)
def test_a_signal_is_named(body: Any, says: str, result: dict[str, Any]) -> None:
    error = failure(Shell({}), body)
    assert str(error).startswith(says)
    assert error.result == {"stdout": "", "stderr": error.result["stderr"], **result}


def test_a_signal_without_a_name() -> None:
    number = getattr(signal, "SIGRTMIN", None)
    if number is None:  # macOS has no such signals
        return
    assert str(failure(Shell({}), ["sh", "-c", f"kill -{number + 3} $$"])) == f"killed by signal {number + 3}"


class TestCommandsThatAreNotThere:
    def test_as_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        error = failure(Shell({}), ["no-such-program", "x"])
        assert str(error) == 'there is no program "no-such-program" on PATH (/usr/bin:/bin)'
        assert error.result is None
        assert str(failure(Shell({}), ["./no-such-program"])).startswith(
            'there is no program "./no-such-program"'
        )

    @pytest.mark.parametrize("command", ["no-such-program {}", "no-such-program {}; exit $?"])
    def test_as_a_shell_command(self, command: str) -> None:
        error = failure(Shell({"command": command}), "x")
        assert str(error).startswith("exit 127 (the command was not found): /bin/sh: ")
        assert "no-such-program" in str(error)
        assert error.result["exit"] == 127

    def test_the_path_is_the_tasks_own(self, tmp_path: Path) -> None:
        program = tmp_path / "only-here"
        program.write_text("#!/bin/sh\necho found")
        program.chmod(0o755)
        kind = Shell({"env": {"PATH": f"{tmp_path}:/bin:/usr/bin"}})
        assert execute(kind, "only-here")["stdout"] == "found\n"
        assert execute(kind, ["only-here"])["stdout"] == "found\n"

    def test_a_script_without_a_first_line_is_run_by_the_shell(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("echo from $0")
        script.chmod(0o755)
        assert execute(Shell({}), str(script))["stdout"] == f"from {script}\n"
        assert "Exec format error" in str(failure(Shell({}), [str(script)]))

    def test_what_may_not_be_executed(self, tmp_path: Path) -> None:
        file = tmp_path / "data"
        file.write_text("x")
        assert "Permission denied" in str(failure(Shell({}), [str(file)]))
        assert str(failure(Shell({}), str(file))).startswith("exit 126 (the command can't be executed): ")

    def test_the_interpreter_of_a_script(self, tmp_path: Path) -> None:
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        assert "the interpreter that its first line names" in str(failure(Shell({}), [str(script)]))

    def test_the_shell_itself(self) -> None:
        error = failure(Shell({"shell": "/no/such/shell"}), "true")
        assert str(error).startswith('there is no program "/no/such/shell"')


def test_arguments_that_are_too_long_are_a_failed_attempt() -> None:
    assert "its arguments and variables are too long for" in str(
        failure(Shell({"command": "true {}"}), "x" * 3_000_000)
    )
    assert "its arguments and variables are too long for" in str(
        failure(Shell({"command": 'true "{}"'}), "x" * 3_000_000)
    )


def test_the_shell_that_was_asked_for(tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$@"')
    shell.chmod(stat.S_IRWXU)
    assert execute(Shell({"shell": str(shell)}), "true")["stdout"] == "-c true\n"


def test_functions_that_the_environment_exports_go_before_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASH_FUNC_gzip%%", "() { echo function; }")
    monkeypatch.setenv("SEEN", "x")
    # /bin/sh takes such functions on some systems; on all it is the one to decide
    assert Shell({"command": "gzip {}"})._call("x", 1).argv[0] == "/bin/sh"
    assert Shell({"command": "gzip2 {}"})._call("x", 1).argv[0] == "gzip2"


class TestOutput:
    def test_long_output_is_cut_in_the_middle_and_drained(self) -> None:
        result = execute(Shell({"max_output_bytes": 20}), "seq 100000; seq 5 >&2")
        assert result == {
            "exit": 0,
            "stdout": "1\n2\n3\n4\n5\n\n[kon left out 588875 bytes here]\n99\n100000\n",
            "stderr": "1\n2\n3\n4\n5\n",
            "truncated": True,
            "stdout_bytes": 588_895,
        }

    def test_each_stream_has_its_own_limit(self) -> None:
        result = execute(Shell({"max_output_bytes": 4}), "echo 12345; echo 123456 >&2")
        assert result["truncated"] is True
        assert (result["stdout_bytes"], result["stderr_bytes"]) == (6, 7)

    def test_output_that_is_not_utf8(self) -> None:
        result = execute(Shell({}), r"printf 'a\377\000b'")
        assert result == {"exit": 0, "stdout": "a\\xff\0b", "stderr": "", "encoding_errors": True}

    def test_long_output_of_a_command_that_fails(self) -> None:
        error = failure(Shell({"max_output_bytes": 40}), "seq 1000 >&2; echo the end >&2; exit 2")
        assert str(error) == "exit 2: the end"
        assert error.result["truncated"] is True


class TestBodies:
    def test_bytes_that_are_not_utf8(self, tmp_path: Path) -> None:
        name = os.fsencode(tmp_path) + b"/\xff \xc3\xbc"
        Path(os.fsdecode(name)).write_text("found")
        body = {"bytes": name.decode("latin-1")}
        for command in ("cat {}", 'cat "{}"', ["cat"]):
            assert execute(Shell({"command": command}), body)["stdout"] == "found"
        assert execute(Shell({}), ["cat", body])["stdout"] == "found"

    @pytest.mark.parametrize("value", [7, "\u0100", ["a"], "a\0"])
    def test_bytes_that_can_not_be_used(self, value: Any) -> None:
        with pytest.raises(ConfigurationError):
            Shell({"command": "cat {}"}).check({"bytes": value})

    @pytest.mark.parametrize("item", ["x", "", 0, 2.5, "a\nb", "ü"])
    def test_items(self, item: Any) -> None:
        Shell({"command": "ls {}"}).check(item)

    @pytest.mark.parametrize(
        ("item", "says"),
        [
            (True, "expected the item to be a string or a number, got True"),
            (["a"], "expected the item to be a string or a number, got ['a']"),
            ({"a": 1}, "expected the item to be a string or a number, got {'a': 1}"),
            ("a\0b", "the item holds a NUL character"),
            (None, "the command names its item, and the task has none"),
        ],
    )
    def test_items_that_can_not_be_used(self, item: Any, says: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            Shell({"command": "ls {}"}).check(item)
        assert says in str(raised.value)

    @pytest.mark.parametrize("body", ["true", "a | b", ["true"], ["seq", 3]])
    def test_commands(self, body: Any) -> None:
        Shell({}).check(body)

    @pytest.mark.parametrize(
        "body", ["", " \n", [], [""], ["a", None], ["a", True], ["a\0"], "a\0", 3, None, {}]
    )
    def test_commands_that_can_not_be_used(self, body: Any) -> None:
        with pytest.raises(ConfigurationError):
            Shell({}).check(body)

    def test_an_item_at_the_end_of_a_here_document(self) -> None:
        kind = Shell({"command": "cat <<END\nx\nEND"})
        kind.check(None)
        with pytest.raises(ConfigurationError, match="here-document"):
            kind.check("item")


def test_an_exit_code_that_is_lost_is_not_taken_for_success() -> None:
    """With SIGCHLD ignored the kernel throws exit codes away; 0 must not be made up."""
    program = """
        import asyncio, signal, sys
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from kon.core.kind import Attempt
        from kon.kinds.shell import Shell
        from kon.kinds.spawn import Spawner

        async def main(use_pidfd):
            kind = Shell({})
            kind._spawner = Spawner(max_output_bytes=10, kill_grace_s=1, use_pidfd=use_pidfd)
            try:
                print(await kind.execute("true", Attempt("r", 0, 1)))
            except Exception as error:
                print(type(error).__name__, error)

        asyncio.run(main(None))
        asyncio.run(main(False))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith(
            'KindError the exit code of "true" was lost: this worker was started with SIGCHLD'
        )


class TestForAClientHere:
    """Files on the worker's own machine."""

    def test_output_is_kept_whole(self, tmp_path: Path) -> None:
        kind = Shell({"max_output_bytes": 100, "here": {"keep": str(tmp_path / "kept")}})
        result = execute(kind, "seq 1000; printf 'a\\377' >&2")
        expected = subprocess.run(["seq", "1000"], capture_output=True, check=True).stdout
        assert Path(result["stdout_file"]).read_bytes() == expected
        assert Path(result["stderr_file"]).read_bytes() == b"a\xff"
        assert result["truncated"] is True
        assert result["stdout_bytes"] == len(expected)
        assert execute(kind, "echo x") == {"exit": 0, "stdout": "x\n", "stderr": ""}

    def test_the_descriptors_that_it_takes_are_counted_on(self, tmp_path: Path) -> None:
        """A worker runs as many at once as it has descriptors for."""

        async def use(kind: Kind) -> int:
            await kind.execute("true", attempt())
            before = len(open_files())
            running = asyncio.create_task(kind.execute("seq 20000 | tee /dev/stderr; sleep 1000", attempt()))
            while sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 108_894:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            taken = len(open_files()) - before
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            return taken

        options = {"max_output_bytes": 100, "here": {"keep": str(tmp_path)}}
        assert with_kind(Shell(options), use) <= PER_COMMAND

    def test_output_that_can_not_be_kept_is_a_failed_attempt(self) -> None:
        error = failure(Shell({"max_output_bytes": 10, "here": {"keep": "/dev/null/x"}}), "seq 1000")
        assert str(error).startswith("its output can't be kept whole, so that it counts as failed: Not a dir")

    @pytest.mark.parametrize(
        ("options", "shown"),
        [
            ({}, b"one\ntwo"),
            ({"mode": "chunks"}, b"one\ntwo"),
            ({"tag": True}, b"x y\tone\nx y\ttwo"),
        ],
    )
    def test_output_is_shown_as_it_comes(self, tmp_path: Path, options: Any, shown: bytes) -> None:
        kind = Shell({"command": "printf 'one\\ntwo'", "here": {"live": str(tmp_path), **options}})
        assert execute(kind, "x y")["stdout"] == "one\ntwo"
        assert (tmp_path / f"{os.getpid()}.out").read_bytes() == shown

    def test_of_several_items_whole_lines_are_shown(self, tmp_path: Path) -> None:
        command = "printf 'a%s' {}; sleep 0.1; echo b; sleep 0.1; printf c"
        kind = Shell({"command": command, "slots": 2, "here": {"live": str(tmp_path)}})

        async def main() -> None:
            await asyncio.gather(
                kind.execute("1", Attempt(run="r", index=0, number=1)),
                kind.execute("2", Attempt(run="r", index=1, number=1)),
            )
            await kind.close()

        asyncio.run(main())
        shown = (tmp_path / f"{os.getpid()}.out").read_bytes()
        assert sorted(shown.split()) in ([b"a1b", b"a2b", b"cc"], [b"a1b", b"c", b"ca2b"])


class TestStdin:
    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(b"a\xffb")
        kind = Shell({"stdin_file": str(tmp_path / "in")})
        assert execute(kind, "wc -c")["stdout"].strip() == "3"
        error = failure(Shell({"stdin_file": str(tmp_path / "no")}), "cat")
        assert str(error) == f'can\'t read "{tmp_path}/no" (stdin_file): No such file or directory'

    def test_the_item(self) -> None:
        kind = Shell({"command": "echo got; cat", "stdin_item": True})
        assert execute(kind, "a b")["stdout"] == "got\na b\n"
        assert execute(kind, 7)["stdout"] == "got\n7\n"


def test_slots_have_numbers() -> None:
    kind = Shell({"command": "echo {%}; sleep 0.2", "positions": True, "slots": 2})

    async def main() -> list[Any]:
        attempts = [Attempt(run="r", index=at, number=1) for at in range(3)]
        first = [asyncio.create_task(kind.execute("x", each)) for each in attempts[:2]]
        await asyncio.wait(first)
        return [*(await asyncio.gather(*first)), await kind.execute("x", attempts[2])]

    assert [result["stdout"] for result in asyncio.run(main())] == ["1\n", "2\n", "1\n"]

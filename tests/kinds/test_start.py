"""Starts of programs, by posix_spawn and by subprocess: nobody could tell which it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from kon.kinds.start import Starter, posix_spawn_tells_errors
from tests.kinds.running import children

# where posix_spawn does not tell errors it is not used, and there is one way to be tested
both_ways = pytest.mark.parametrize(
    "fast",
    [True, False] if posix_spawn_tells_errors() else [False],
    ids=lambda fast: "posix_spawn" if fast else "subprocess",
)

PATH = {b"PATH": b"/usr/bin:/bin"}


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often posix_spawn was asked."""
    asked = 0
    real = os.posix_spawn

    def counted(*args: object, **kwargs: object) -> int:
        nonlocal asked
        asked += 1
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "posix_spawn", counted)
    return lambda: asked


def output(starter: Starter, argv: list[str], env: dict[bytes, bytes], stdin: int | None = None) -> str:
    """What a program writes to either."""
    null = os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    try:
        pid = starter.start(argv, env, null if stdin is None else stdin, writing, writing)
        os.close(writing)
        writing = -1
        with os.fdopen(os.dup(reading)) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        return text
    finally:
        for file in (null, reading, writing):
            if file >= 0:
                os.close(file)


@both_ways
def test_a_program_gets_what_it_is_given(fast: bool, spawned: Callable[[], int], tmp_path: Path) -> None:
    starter = Starter(use_posix_spawn=fast)
    env = {**PATH, b"WORD": "ü".encode(), b"ODD": b"\xff"}
    assert output(starter, ["printenv", "WORD"], env) == "ü\n"
    assert output(starter, ["sh", "-c", 'printf "%s|" "$0" "$@"', "a b", ""], env) == "a b||"
    text = tmp_path / "text"
    text.write_text("read")
    with text.open() as file:
        assert output(starter, ["cat"], env, file.fileno()) == "read"
    assert spawned() == (3 if fast else 0)


@both_ways
def test_a_program_leads_a_group(fast: bool) -> None:
    pid, group = output(
        Starter(use_posix_spawn=fast), ["sh", "-c", "echo $$ `ps -o pgid= -p $$`"], PATH
    ).split()
    assert pid == group


@both_ways
def test_a_program_dies_of_a_broken_pipe(fast: bool) -> None:
    """Python ignores SIGPIPE; a program that inherited that would complain, or write on for ever."""
    assert output(Starter(use_posix_spawn=fast), ["sh", "-c", "yes | head -n 1"], PATH) == "y\n"


@both_ways
def test_a_program_finds_nothing_else_open(fast: bool, tmp_path: Path) -> None:
    own = os.open(tmp_path, os.O_RDONLY)
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    script = f"for file in {own} {inherited}; do [ -e /dev/fd/$file ] && echo $file; done"
    try:
        assert output(Starter(use_posix_spawn=fast), ["sh", "-c", script], PATH) == ""
    finally:
        os.close(own)
        os.close(inherited)


@both_ways
@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("no-such-program", FileNotFoundError),
        ("./no-such-program", FileNotFoundError),
        ("{folder}/data", PermissionError),
        ("{folder}", PermissionError),
        ("{folder}/no-first-line", OSError),
        ("{folder}/no-interpreter", FileNotFoundError),
        ("{folder}/data/x", NotADirectoryError),
    ],
)
def test_what_can_not_be_started(fast: bool, program: str, error: type[OSError], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    (tmp_path / "no-first-line").write_text("echo x")
    (tmp_path / "no-first-line").chmod(0o755)
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter")
    (tmp_path / "no-interpreter").chmod(0o755)
    name = program.format(folder=tmp_path)
    before = children()
    with pytest.raises(error) as raised:
        output(Starter(use_posix_spawn=fast), [name], PATH)
    assert raised.value.filename == name
    assert children() == before


@both_ways
def test_arguments_that_are_too_long(fast: bool) -> None:
    with pytest.raises(OSError, match="Argument list too long"):
        output(Starter(use_posix_spawn=fast), ["true", "x" * 3_000_000], PATH)


def program(folder: Path, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "program").write_text(f"#!/bin/sh\necho {says}")
    (folder / "program").chmod(0o755)


@both_ways
def test_a_program_that_moves_is_found_again(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = Starter(use_posix_spawn=fast)
    env = {b"PATH": os.fsencode(f"{tmp_path}/one:{tmp_path}/two:/bin")}
    program(tmp_path / "one", "one")
    assert output(starter, ["program"], env) == "one\n"
    program(tmp_path / "two", "two")
    (tmp_path / "one" / "program").unlink()
    assert output(starter, ["program"], env) == "two\n"
    assert output(starter, ["program"], env) == "two\n"
    with monkeypatch.context() as patch:
        if fast:  # where it is now has been learnt
            patch.setattr(shutil, "which", None)
            patch.setattr(subprocess, "Popen", None)
        assert output(starter, ["program"], env) == "two\n"
    (tmp_path / "two" / "program").unlink()
    with pytest.raises(FileNotFoundError):
        output(starter, ["program"], env)
    program(tmp_path / "two", "back")
    assert output(starter, ["program"], env) == "back\n"


@both_ways
def test_each_path_is_looked_up_on_its_own(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = Starter(use_posix_spawn=fast)
    for name in ("one", "two"):
        program(tmp_path / name, name)
        env = {b"PATH": os.fsencode(f"{tmp_path / name}:/bin")}
        assert output(starter, ["program"], env) == f"{name}\n"
    # folders as they look from where it runs, and a program's default where there is no PATH at all
    monkeypatch.chdir(tmp_path)
    assert output(starter, ["program"], {b"PATH": b"two:/bin"}) == "two\n"
    program(tmp_path / "one" / "two", "inner")
    monkeypatch.chdir(tmp_path / "one")
    assert output(starter, ["program"], {b"PATH": b"two:/bin"}) == "inner\n"
    assert output(starter, ["sh", "-c", "echo found"], {}) == "found\n"


def test_a_folder_to_run_in_is_beyond_posix_spawn(spawned: Callable[[], int], tmp_path: Path) -> None:
    assert output(Starter(str(tmp_path)), ["pwd"], PATH) == f"{tmp_path}\n"
    assert spawned() == 0


def test_pipes_that_got_the_numbers_of_closed_files_do_no_harm() -> None:
    """A program started with its standard files closed opens others by those numbers."""
    script = """
        import os, sys
        from kon.kinds.start import Starter

        null = os.open(os.devnull, os.O_RDONLY)
        reading, writing = os.pipe()
        os.dup2(writing, 0, inheritable=False)
        starter = Starter(use_posix_spawn=True)
        os.waitpid(starter.start(["echo", "x"], {b"PATH": b"/usr/bin:/bin"}, null, 0, 0), 0)
        os.write(1, os.read(reading, 100))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "x\n", done.stderr


@pytest.mark.parametrize(
    ("platform", "libc", "fit"),
    [
        ("linux", "glibc 2.36", True),
        ("linux", "glibc 2.24", True),
        ("linux", "glibc 2.17", False),
        ("linux", None, False),
        ("linux", "musl", False),
        ("darwin", None, True),
    ],
)
def test_where_posix_spawn_is_fit_for_use(
    platform: str, libc: str | None, fit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    posix_spawn_tells_errors.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", platform)
        patch.setattr(os, "confstr", lambda name: libc)
        found = posix_spawn_tells_errors()
    posix_spawn_tells_errors.cache_clear()
    assert found is fit

"""The kind `python`: calls, arguments, results and failures, wherever calls are made."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError, KindError
from kon.kinds.python import PythonFunction
from tests.kinds import functions
from tests.kinds.running import attempt, execute, failure, nothing_left, with_kind

FILE = str(Path(functions.__file__).absolute())

in_all_pools = pytest.mark.parametrize("pool", ["processes", "threads", "inline"])


@pytest.fixture(autouse=True)
def same_path() -> Iterator[None]:
    """Functions that are loaded into this process leave their folders in its `sys.path`."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def kind(name: str, pool: str = "processes", **options: Any) -> PythonFunction:
    return PythonFunction({"function": f"{FILE}:{name}", "pool": pool, **options})


@in_all_pools
class TestCalls:
    @pytest.mark.parametrize("body", [None, 1, 2.5, "ü\n", [1, [2]], {"args": [1]}, 2**70])
    def test_the_body_is_the_one_argument(self, pool: str, body: Any) -> None:
        assert execute(kind("echo", pool), body) == body

    def test_the_body_may_hold_all_arguments(self, pool: str) -> None:
        def given(body: dict[str, Any]) -> Any:
            return execute(kind("spread", pool, call="spread"), body)

        assert given({"args": [1, 2], "kwargs": {"a": 3}}) == [[1, 2], {"a": 3}]
        assert given({"args": [1]}) == [[1], {}]
        assert given({}) == [[], {}]

    def test_a_method(self, pool: str) -> None:
        assert execute(kind("Squares.of", pool), 7) == 49

    def test_a_module(self, pool: str) -> None:
        assert execute(PythonFunction({"function": "json:loads", "pool": pool}), "[1]") == [1]

    def test_a_coroutine_function(self, pool: str) -> None:
        assert execute(kind("later", pool), "x") == "x"
        assert str(failure(kind("fail_later", pool), "x")) == "LookupError: x"

    def test_what_stands_under_main_does_not_run(self, pool: str) -> None:
        """And a module can tell that it is being loaded, so that it does not start a run of its own."""
        seen = execute(kind("loaded_as", pool))
        assert seen["name"].startswith("_kon_")
        assert seen["was_loading"] == FILE
        assert seen["loading"] is None

    def test_folders_to_import_from(self, pool: str, tmp_path: Path) -> None:
        name = f"only_there_{pool}"
        (tmp_path / f"{name}.py").write_text("def f(x): return x + 1")
        assert (
            execute(PythonFunction({"function": f"{name}:f", "pool": pool, "sys_path": [str(tmp_path)]}), 1)
            == 2
        )

    def test_the_current_folder_comes_last(
        self, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / f"here_{pool}.py").write_text("def f(x): return x + 1")
        (tmp_path / "json.py").write_text("def loads(x): return 'hidden'")
        monkeypatch.chdir(tmp_path)
        assert execute(PythonFunction({"function": f"here_{pool}:f", "pool": pool}), 1) == 2
        assert execute(PythonFunction({"function": "json:loads", "pool": pool}), "[1]") == [1]

    def test_a_file_finds_its_neighbours(self, pool: str, tmp_path: Path) -> None:
        (tmp_path / f"neighbour_{pool}.py").write_text("VALUE = 5")
        (tmp_path / "jobs.py").write_text(f"from neighbour_{pool} import VALUE\ndef f(x): return VALUE")
        assert execute(PythonFunction({"function": f"{tmp_path}/jobs.py:f", "pool": pool})) == 5

    def test_a_result_is_a_copy(self, pool: str) -> None:
        body = [1]
        assert execute(kind("change", pool), body)[-1] == 99
        assert execute(kind("give", pool), "a tuple") == [1, [2, 3]]
        assert execute(kind("give", pool), "a large integer") == 2**100

    @pytest.mark.parametrize(
        ("what", "says"),
        [
            ("a set", "the result, a set, is not a JSON value: Object of type set is not JSON serializable"),
            ("bytes", "the result, a bytes, is not a JSON value"),
            ("an object", "the result, a object, is not a JSON value"),
            ("not a number", "the result, a list, is not a JSON value: Out of range float values"),
            ("a half character", "the result, a str, is not a JSON value: 'utf-8' codec can't encode"),
            ("a ring", "the result, a list, is not a JSON value: Circular reference"),
            ("an integer too large", "the result, a int, is not a JSON value: Exceeds the limit"),
        ],
    )
    def test_a_result_that_is_no_json_value(self, pool: str, what: str, says: str) -> None:
        error = failure(kind("give", pool), what)
        assert str(error).startswith(says)
        assert error.result is None

    def test_an_exception_is_a_failed_attempt(self, pool: str) -> None:
        error = failure(kind("fail", pool), "the text\nand more")
        assert str(error) == "ValueError: the text"
        lines = error.result["traceback"].splitlines()
        assert "and more" in lines
        # the function's own frames, and none of kon's
        frames = [line.split(", in ")[1] for line in lines if line.startswith("  File")]
        assert frames == ["fail", "_inner"]

    def test_an_exception_with_a_name_that_is_not_utf8(self, pool: str) -> None:
        error = failure(kind("fail_of_bytes", pool), "caf")
        assert str(error) == "ValueError: caf\\udce9"
        assert "ValueError: caf\\udce9" in error.result["traceback"]

    def test_the_cause_of_an_exception_is_told(self, pool: str) -> None:
        error = failure(kind("fail_because", pool), "the cause")
        assert str(error) == "RuntimeError: it went wrong"
        assert "ValueError: the cause" in error.result["traceback"]

    def test_a_traceback_is_bounded(self, pool: str) -> None:
        error = failure(kind("recurse", pool), 0)
        assert str(error) == "RecursionError: maximum recursion depth exceeded"
        assert error.result["traceback"].count("\n  File ") == 10
        assert len(failure(kind("fail", pool), "x" * 10_000).result["traceback"]) == 8_000
        assert len(str(failure(kind("fail", pool), "x" * 10_000))) == 300

    def test_an_exception_without_words(self, pool: str) -> None:
        assert str(failure(kind("raise_unspeakable", pool), 0)).startswith("Unspeakable: ")
        assert str(failure(kind("fail", pool), "")) == "ValueError"

    def test_leaving_the_program_is_a_failed_attempt(self, pool: str) -> None:
        with_kind(kind("leave", pool), _survives)

    def test_arguments_that_do_not_fit(self, pool: str) -> None:
        error = failure(kind("echo", pool, call="spread"), {"args": [1, 2]})
        assert str(error).startswith("TypeError: echo() takes 1 positional argument but 2 were given")


async def _survives(leaving: Any) -> None:
    for _ in range(2):
        with pytest.raises(KindError, match="SystemExit: 3"):
            await leaving.execute(3, attempt())


def test_a_cancellation_raised_by_a_function_is_its_own() -> None:
    for pool in ("processes", "threads"):
        assert str(failure(kind("cancel", pool), 0)) == "CancelledError"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([1], 'expected a mapping with "args" and "kwargs", got [1]'),
        ({"arg": [1]}, 'got "arg", did you mean "args"?'),
        ({"args": 1}, '"args" to be a list'),
        ({"kwargs": [1]}, '"kwargs" a mapping'),
    ],
)
def test_arguments_that_can_not_be_spread_are_refused(body: Any, says: str) -> None:
    spread = kind("spread", call="spread")
    with pytest.raises(ConfigurationError) as raised:
        spread.check(body)
    assert says in str(raised.value)


@in_all_pools
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (f"{FILE}:ecko", 'functions.py defines no "ecko", did you mean "echo"?'),
        ("no_such_module:f", 'there is no module "no_such_module"'),
        ("nonsense", 'expected "module:function" or "path/to/file.py:function", got "nonsense"'),
    ],
)
def test_a_function_that_is_not_there_is_refused_before_any_task(pool: str, function: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        PythonFunction({"function": function, "pool": pool})
    assert str(raised.value).startswith('option "function" of kind python: ')
    assert says in str(raised.value)


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='names "/no/such/folder", which is neither a folder nor an'):
        PythonFunction({"function": "json:dumps", "sys_path": ["/no/such/folder"]})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise OSError('no licence')\ndef f(x): pass", "OSError: no licence"),
        ("import no_such_module\ndef f(x): pass", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("f = 3", "TypeError: f is a int, which can't be called"),
        ("class f: pass", "AttributeError: type object 'f' has no attribute 'g'"),
        ("import sys\nf = 1\nsys.exit(1)", "SystemExit: 1"),
    ],
)
def test_a_function_that_can_not_be_loaded(source: str, says: str, tmp_path: Path) -> None:
    """Only running the module tells: in the pool it fails the attempt, in this process the set-up."""
    (tmp_path / "jobs.py").write_text(source)
    function = f"{tmp_path}/jobs.py:{'f.g' if 'f.g' in says or 'class' in source else 'f'}"
    with nothing_left():
        error = failure(PythonFunction({"function": function}), 1)
    assert str(error) == f"can't load {function}: {says}"
    assert error.result["traceback"].startswith("Traceback")
    for pool in ("threads", "inline"):
        with pytest.raises(ConfigurationError) as raised:
            PythonFunction({"function": function, "pool": pool})
        assert says in str(raised.value)


def test_where_calls_are_made() -> None:
    def seen(pool: str) -> dict[str, Any]:
        found: dict[str, Any] = execute(kind("where", pool), None)
        return found

    processes, threads, inline = seen("processes"), seen("threads"), seen("inline")
    assert processes["pid"] != os.getpid()
    assert processes["main_thread"]
    assert processes["argv"] == [FILE]
    assert (threads["pid"], threads["main_thread"]) == (os.getpid(), False)
    assert (inline["pid"], inline["main_thread"]) == (os.getpid(), True)
    # the folder of kon's own modules is none to import from, before the path is set or after
    assert processes["safe_path"]
    assert [Path(folder).parent.name for folder in processes["folders"]] == ["tests"]


def test_a_pool_process_has_no_standard_input() -> None:
    assert execute(kind("read_stdin")) == ""


def test_a_call_in_a_thread_leaves_the_event_loop_to_others(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def use(waiting: Any) -> Any:
        call = asyncio.create_task(waiting.execute(str(path), attempt()))
        while not call.done():
            try:
                pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                await asyncio.sleep(0)
                continue
            os.write(pipe, b"go\n")
            os.close(pipe)
            return await call
        raise AssertionError("the call ended before it could")

    assert with_kind(kind("wait_for_line", "threads"), use) == "go"


def test_a_call_that_was_cancelled_in_a_thread_goes_on_unheard(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def use(waiting: Any) -> Any:
        call = asyncio.create_task(waiting.execute(str(path), attempt()))
        pipe = await asyncio.to_thread(os.open, path, os.O_WRONLY)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        second = tmp_path / "second"
        second.write_text("not held up\n")
        result = await waiting.execute(str(second), attempt())
        os.close(pipe)
        return result

    assert with_kind(kind("wait_for_line", "threads"), use) == "not held up"

"""Files staged for commands of `shell`: from the store, into a folder of the attempt's own, and back."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kon.backends.memory.backend import MemoryObjects
from kon.cli.group import kon
from kon.core.errors import ConfigurationError, KindError
from kon.kinds.shell import Shell
from tests.kinds.running import attempt, fifo, nothing_left


@pytest.fixture(autouse=True)
def _no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


class Store(MemoryObjects):
    """Objects as text."""

    def __init__(self, **objects: str) -> None:
        super().__init__()
        self.texts(objects)

    def texts(self, objects: Mapping[str, str]) -> None:
        self._objects.update({key: text.encode() for key, text in objects.items()})

    @property
    def all(self) -> dict[str, str]:
        return {key: content.decode() for key, content in self._objects.items()}


def ran(store: Store, options: dict[str, Any], item: Any = None, index: int = 0, number: int = 1) -> Any:
    async def main() -> Any:
        kind = Shell(options)
        await kind.open(store)
        try:
            kind.check(item)
            async with asyncio.timeout(20):
                return await kind.execute(item, attempt(index, number))
        finally:
            await kind.close()

    return asyncio.run(main())


def failed(store: Store, options: dict[str, Any], item: Any, says: str) -> KindError:
    with pytest.raises(KindError, match=says) as raised:
        ran(store, options, item)
    return raised.value


def test_a_command_has_its_inputs_and_its_outputs_are_stored() -> None:
    store = Store()
    store.texts({"in/a b.txt": "hello", "words": "there"})
    options = {
        "command": "tr a-z A-Z < {/} > {/.}.up; cat dictionary >> {/.}.up; ls -A",
        "inputs": {"{/}": "{}", "dictionary": "words"},
        "outputs": ["{/.}.up"],
    }
    result = ran(store, options, "in/a b.txt", index=41)
    assert result["stdout"].splitlines() == ["a b.txt", "a b.up", "dictionary"]
    key = "shell/a-run/000041/a b.up"
    assert result["outputs"] == [{"name": "a b.up", "key": key, "size_bytes": 10}]
    assert store.all[key] == "HELLOthere"
    store.texts({"words": "again"})
    ran(store, options, "in/a b.txt", index=41, number=2)  # a repeat replaces the same object
    assert store.all[key] == "HELLOagain"
    assert len(store.all) == 3


def test_names_keys_and_globs() -> None:
    store = Store()
    store.texts({"a.txt": "one two"})
    options = {
        "command": "mkdir -p out/deep; for word in $(cat {}); do echo $word > out/$word.w; done; "
        "echo x > out/deep/x.w; echo log > log; echo n > a.n",
        "inputs": ["{}"],
        "outputs": {"out/**/*.w": "words/{/.}/", "log": "logs/{#}", "{/.}.n": "n/"},
    }
    result = ran(store, options, "a.txt", index=2)
    assert {each["key"]: store.all[each["key"]] for each in result["outputs"]} == {
        "words/a/out/deep/x.w": "x\n",
        "words/a/out/one.w": "one\n",
        "words/a/out/two.w": "two\n",
        "logs/3": "log\n",
        "n/a.n": "n\n",
    }


def test_an_item_is_never_a_glob_and_inputs_are_no_outputs() -> None:
    store = Store()
    store.texts({"[ab]*": "in", "b.new": "in"})
    result = ran(
        store,
        {"command": "touch a1.new {}.new", "inputs": ["{}", "b.new"], "outputs": ["{}.*", "*.new"]},
        "[ab]*",
    )
    assert [each["name"] for each in result["outputs"]] == ["[ab]*.new", "a1.new"]


def test_without_a_template_each_task_is_its_command() -> None:
    result = ran(
        Store(words="a"), {"inputs": ["words"], "outputs": ["n{#}"]}, "cat words words > n5", index=4
    )
    assert result["outputs"][0]["key"] == "shell/a-run/000004/n5"


def test_an_output_that_is_missing_is_a_failed_attempt_and_nothing_is_stored() -> None:
    for outputs, says in (
        (["there", "none"], 'ended well, but it made no file "none"'),
        (["there", "*.png"], r'ended well, but it made no file that matches "\*\.png"'),
        (["there", "there/below"], 'made no file "there/below"'),
        (["folder"], r'the output "folder" is a folder; its files are meant by "folder/\*\*"'),
    ):
        store = Store()
        command = "echo said; touch there; mkdir folder"
        error = failed(store, {"command": command, "outputs": outputs}, None, says)
        assert error.result["stdout"] == "said\n"
        assert store.all == {}


def test_a_command_that_fails_stores_nothing() -> None:
    store = Store()
    failed(store, {"command": "echo x > a; exit 3", "outputs": ["a"]}, None, "exit 3")
    assert store.all == {}


@pytest.mark.parametrize(
    ("make", "outputs"),
    [
        ("ln -s /etc/passwd a", ["a"]),
        ("ln -s /etc/passwd a", ["*"]),
        ("ln -s /etc b", ["b/passwd"]),
        ("ln -s /etc b", ["b/pass*"]),
        ("ln -s /etc b", ["**/passwd"]),
        ("mkfifo a", ["a"]),
    ],
)
def test_a_link_out_of_the_folder_is_not_stored(make: str, outputs: list[str]) -> None:
    store = Store()
    failed(store, {"command": make, "outputs": outputs}, None, "no regular file|made no file")
    assert store.all == {}


def test_inputs_that_can_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"command": "true", "inputs": {"a": "{}"}}
    failed(Store(), options, "none", 'there is no object "none" in the store')
    failed(Store(x="x"), {**options, "inputs": {"a": "x", "a/b": "x"}}, "x", 'for the input "a/b": ')

    async def full(self: Any, key: str, file: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "get", full)
    failed(Store(x="x"), options, "x", "can't be written to .*: No space left on device. Make room there")
    usage = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    failed(Store(x="x"), options, "x", 'the object "x" has 1 bytes, and .* has room for 0. Make room there')


@pytest.mark.parametrize(
    ("options", "item", "says"),
    [
        ({"inputs": {"../a": "{}"}}, "x", "the input '../a' is no file below the working folder"),
        ({"inputs": {"{}": "x"}}, "../../a", "is no file below the working folder"),
        ({"inputs": {"{}": "x"}}, "/etc/passwd", "is no file below the working folder"),
        ({"inputs": ["{}"]}, "../../etc/passwd", "not a relative path of plain names"),
        ({"outputs": ["{}"]}, "/etc/passwd", "the output '/etc/passwd' is no file below"),
        ({"outputs": ["../*"]}, "x", "is no file below the working folder"),
        ({"outputs": {"a": "{}"}}, "../a", "not a relative path of plain names"),
        ({"inputs": ["{}"], "outputs": {"a": "{}"}}, "x", 'would replace the input "x"'),
        ({"inputs": ["a/x", "b/x"]}, "x", 'two inputs would have the name "x"'),
        ({"inputs": ["{}"]}, {"bytes": "\xff"}, "is not UTF-8"),
        ({"inputs": ["{}"]}, None, "the task has none"),
    ],
)
def test_tasks_that_can_not_be_staged(options: dict[str, Any], item: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Shell({"command": "true {#}", **options}).check(item)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"outputs": {"a": "one"}}, "the same for all tasks"),
        ({"outputs": {"a": "all/"}}, "the same for all tasks"),
        ({"outputs": {"*": "all/{}"}}, "may match several files"),
        ({"outputs": ["a"], "cwd": "/tmp"}, "cwd: with inputs or outputs"),
        ({"inputs": "a"}, "inputs"),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Shell(options)


def test_a_cancelled_command_is_stopped_and_its_folder_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with fifo(tmp_path) as pipe:
            kind = Shell({"command": f"exec 9> {pipe.path}; echo up >&9; sleep 100; true", "outputs": ["a"]})
            await kind.open(Store())
            task = asyncio.ensure_future(kind.execute(None, attempt()))
            assert await pipe.line() == "up"
            assert len(list((tmp_path / "tmp").iterdir())) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert list((tmp_path / "tmp").iterdir()) == []
            await pipe.end()
            await kind.close()

    with nothing_left():
        asyncio.run(main())


def test_the_folder_goes_though_a_thread_still_writes_to_it_and_files_are_read_only(tmp_path: Path) -> None:
    """As after the end of a get: threads can't be stopped."""
    begun = asyncio.Event()

    class Slow(Store):
        async def get(self, key: str, file: Path) -> None:
            begun.set()
            await asyncio.to_thread(self._write, file)

        def _write(self, file: Path) -> None:
            file.parent.chmod(0o500)
            for number in range(100):
                try:
                    (file.parent / f"{number}").mkdir()
                except OSError:
                    return

    async def main() -> None:
        kind = Shell({"command": "true", "inputs": ["x"]})
        await kind.open(Slow(x="x"))
        task = asyncio.ensure_future(kind.execute(None, attempt()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / "tmp").iterdir()) == []
        await kind.close()

    asyncio.run(main())


def test_a_run_whose_tasks_time_out_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "quick").write_text("0")
    (tmp_path / "kept" / "slow").write_text("30")
    file = tmp_path / "exp.yml"
    file.write_text(f"""
        name: staged
        backend: {{name: sqlite, objects: {tmp_path}/kept}}
        workload:
          kind: shell
          command: sleep $(cat {{}}); echo done > {{}}.done
          items: [quick, slow]
          inputs: ["{{}}"]
          outputs: {{"{{}}.done": "out/{{}}"}}
          kill_grace_s: 0
        timeout_s: 1.5
        attempts: 1
    """)
    tmp = str(tmp_path / "tmp")
    ended = CliRunner().invoke(
        kon,
        ["run", str(file), "--out", str(tmp_path / "runs"), "--quiet"],
        prog_name="kon",
        env={"TMPDIR": tmp},
    )
    assert ended.exit_code == 1, ended.output
    [folder] = (tmp_path / "runs").glob("staged-*")
    shown = CliRunner().invoke(kon, ["results", str(folder), "--json"], prog_name="kon").output
    quick, slow = sorted((json.loads(line) for line in shown.splitlines()), key=lambda line: line["index"])
    assert quick["result"]["outputs"] == [{"name": "quick.done", "key": "out/quick", "size_bytes": 5}]
    assert "timed out after 1.5 s" in slow["error"]
    assert sorted(each.name for each in (tmp_path / "kept" / "out").iterdir()) == ["quick"]

"""Forked workers keep the modules that they inherit, and do no harm with the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.engine.control import Control
from kon.launch.local import LocalRun
from kon.launch.spare import fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="spares are forked on Linux alone")

CLIENT = """
import atexit, fcntl, gc, json, logging, os, random, signal, sqlite3, sys, tempfile, threading, warnings
import weakref
from pathlib import Path

import kon.launch.process
from kon.core import scratch
from kon.launch import spare

place = Path(sys.argv[1])
os.chdir(place)


def add(file, word):
    with open(place / file, "a") as opened:
        opened.write(f"{word} {os.getpid()}\\n")


class Finalized:
    def __init__(self):
        self.itself = self

    def __del__(self):
        add("finalized", "")


Path("/proc/self/comm").write_text("kon")  # as a script is called that the kernel starts
gc.disable()
Finalized()  # garbage in a circle: whoever collects it first runs this
atexit.register(add, "atexit", "client")
database = sqlite3.connect("database")
database.execute("CREATE TABLE t (n)")
lock = open("lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
buffered = open("buffered", "w")
buffered.write("once ")
print("said by the client")
signal.signal(signal.SIGTERM, lambda *_: add("handled", "SIGTERM"))
signal.signal(signal.SIGUSR1, lambda *_: add("handled", "SIGUSR1"))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.set_wakeup_fd(os.open("wakeups", os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK))
warnings.showwarning = lambda *_: add("warned", "")
sys.excepthook = lambda *_: add("excepted", "")
tempfile.tempdir = "/nowhere"
kept, keeps = os.pipe()


def main(words):
    if words[1:] == ["report"]:
        gc.collect()
        names = {int(each): "" for each in os.listdir("/proc/self/fd")}
        for each in list(names):
            try:
                names[each] = os.readlink(f"/proc/self/fd/{each}")
            except OSError:
                del names[each]
        waits = threading.Thread(target=lambda: (threading.Event().wait(0.2), add("thread", "ended")))
        waits.start()
        atexit.register(add, "atexit", "worker")
        warnings.warn("of the worker")
        print("said by the worker")
        mem = Path("/proc/self/status").read_text()
        (place / words[0]).write_text(json.dumps({
            "pid": os.getpid(),
            "session": os.getsid(0),
            "files": names,
            "keeps": keeps,
            "path": sys.path,
            "argv": sys.argv,
            "handlers": {n.name: str(signal.getsignal(n)) for n in map(signal.Signals, (1, 2, 10, 13, 15))},
            "blocked": [str(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            "wakeup": signal.set_wakeup_fd(-1),
            "title": Path("/proc/self/cmdline").read_bytes().decode().rstrip("\\0").split("\\0"),
            "name": Path("/proc/self/comm").read_text().strip(),
            "tempdir": tempfile.gettempdir(),
            "scratch": scratch.own_prefix(),
            "random": random.random(),
            "stdin": sys.stdin.read(),
        }))
        return 7
    if words[1:] == ["raise"]:
        raise LookupError("what happened")
    if words[1:] == ["exit"]:
        sys.exit(9)
    signal.pause()


kon.launch.process.main = main
try:
    spares = spare.fork(5, [keeps])
    assert len(spares) == 5
finally:
    add("forked", "")
client = {"path": list(sys.path), "scratch": scratch.own_prefix()}
sys.excepthook = sys.__excepthook__
lock.close()
with open("lock") as again:  # while the spares live, each of which closes it soon
    signal.alarm(20)
    fcntl.flock(again, fcntl.LOCK_EX)
    signal.alarm(0)
first, second, raises, exits, unused = spares
first.work(["one", "report"], place / "log")
second.work(["two", "report"], place / "log2")
raises.work(["three", "raise"], place / "log3")
exits.work(["four", "exit"], place / "log4")
os.kill(unused.pid, signal.SIGUSR1)
client["codes"] = [first.wait(), second.wait(), raises.wait(), exits.wait(), unused.wait()]
unused.send_signal(signal.SIGKILL)
unused.dismiss()
client["blocked"] = [str(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
client["pid"] = os.getpid()
gc.collect()
(place / "client").write_text(json.dumps(client))
"""


class Ran:
    """What the program above has left."""

    def __init__(self, place: Path) -> None:
        self.place = place
        words = [sys.executable, "-c", CLIENT, str(place)]
        self.done = subprocess.run(words, capture_output=True, text=True, input="for the client", timeout=60)
        assert self.done.returncode == 0, self.done.stderr
        self.client: dict[str, Any] = json.loads((place / "client").read_text())
        self.one: dict[str, Any] = json.loads((place / "one").read_text())
        self.two: dict[str, Any] = json.loads((place / "two").read_text())

    def said(self, file: str) -> str:
        path = self.place / file
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("spare"))


def test_the_program_that_forks_goes_on_once(ran: Ran) -> None:
    assert ran.said("forked").split() == [str(ran.client["pid"])]


def test_a_worker_has_no_file_of_its_client_but_those_that_it_is_to_keep(ran: Ran) -> None:
    """A lock on a file is let go of when the client closes it, and a database is open in one process."""
    files = {int(number): name for number, name in ran.one["files"].items()}
    assert files.pop(0) == os.devnull
    assert {files.pop(1), files.pop(2)} == {str(ran.place / "log")}
    assert set(files) == {ran.one["keeps"]}


def test_what_the_client_had_not_written_yet_is_written_once(ran: Ran) -> None:
    assert ran.said("buffered") == "once "
    assert ran.done.stdout == "said by the client\n"
    assert "client" not in ran.said("log")


def test_the_clients_exit_handlers_and_finalizers_are_run_by_the_client(ran: Ran) -> None:
    by_worker = [f"worker {each['pid']}" for each in (ran.one, ran.two)]
    assert sorted(ran.said("atexit").splitlines()) == sorted([*by_worker, f"client {ran.client['pid']}"])
    assert ran.said("finalized").split() == [str(ran.client["pid"])]


def test_a_worker_ends_as_a_program_does(ran: Ran) -> None:
    assert ran.client["codes"] == [7, 7, 1, 9, -signal.SIGUSR1]
    assert sorted(ran.said("thread").split()[1::2]) == sorted(str(each["pid"]) for each in (ran.one, ran.two))
    assert "said by the worker\n" in ran.said("log")
    assert ran.said("log3").endswith("LookupError: what happened\n")
    assert ran.said("log4") == ""


def test_a_worker_has_none_of_its_clients_hooks(ran: Ran) -> None:
    assert "UserWarning: of the worker" in ran.said("log")
    assert ran.said("warned") == ran.said("excepted") == ran.said("handled") == ""


def test_a_worker_has_signals_as_a_program_that_was_started(ran: Ran) -> None:
    assert ran.one["session"] == ran.one["pid"]
    assert ran.one["blocked"] == ran.client["blocked"] == []
    assert ran.one["wakeup"] == -1
    assert ran.one["handlers"] == {
        "SIGHUP": str(signal.SIG_IGN),
        "SIGINT": ran.one["handlers"]["SIGINT"],
        "SIGUSR1": str(signal.SIG_DFL),
        "SIGPIPE": str(signal.SIG_IGN),
        "SIGTERM": str(signal.SIG_DFL),
    }
    assert "default_int_handler" in ran.one["handlers"]["SIGINT"]


def test_a_worker_reads_nothing_and_imports_nothing_from_the_clients_folder(ran: Ran) -> None:
    assert ran.one["stdin"] == ""
    assert ran.client["path"] == ["", *ran.one["path"]]


def test_a_worker_is_called_what_it_is_called_elsewhere(ran: Ran) -> None:
    assert ran.one["title"] == ["kon.launch.process", "one", "report"]
    assert ran.one["argv"] == ran.one["title"]
    assert ran.one["name"] == Path(sys.executable).name[:15]


def test_each_worker_has_names_and_chances_of_its_own(ran: Ran) -> None:
    """The sentry of one removes whatever has its mark, and would remove another's working folders."""
    assert len({ran.one["scratch"], ran.two["scratch"], ran.client["scratch"]}) == 3
    assert ran.one["random"] != ran.two["random"]
    assert ran.one["tempdir"] != "/nowhere"


NOT_SAFE = {
    "another thread": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "not its first thread": "",
    "no stdin": "import os; os.close(0)",
    "no stdout": "import os; os.close(1)",
    "no title": "from kon.launch import spare; spare._MEMORY = spare.Path('/nowhere')",
}


@pytest.mark.parametrize("why", [*NOT_SAFE, "nothing"])
def test_there_are_no_spares_where_a_fork_is_not_safe(why: str, tmp_path: Path) -> None:
    """What a thread holds at that moment, a copy could never let go of."""
    program = f"""
        import sys, threading
        from pathlib import Path
        from kon.launch import spare
        {NOT_SAFE.get(why, "")}
        def count():
            spares = spare.fork(2)
            for each in spares:
                each.dismiss()
            Path(sys.argv[1]).write_text(str(len(spares)))
        if {why == "not its first thread"}:
            thread = threading.Thread(target=count)
            thread.start()
            thread.join()
        else:
            count()
    """
    words = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "count")]
    subprocess.run(words, check=True, timeout=60)
    assert (tmp_path / "count").read_text() == ("2" if why == "nothing" else "0")


def _until(come: Callable[[], object]) -> None:
    give_up_s = time.monotonic() + 20
    while not come():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


@pytest.mark.parametrize("ends", ["by SIGKILL", "by itself"])
def test_spares_end_with_a_client_that_never_told_them_anything(ends: str, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom kon.launch import spare\n"
        "print(*[each.pid for each in spare.fork(2)], flush=True)\n"
        f"os.kill(os.getpid(), signal.{'SIGKILL' if ends == 'by SIGKILL' else 'SIGTERM'})\n"
    )
    words = [sys.executable, "-c", program, "x" * 40]
    # a spare that held stdout would keep this from returning
    said = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout
    pids = said.split()
    assert len(pids) == 2
    _until(lambda: not any(Path(f"/proc/{pid}").exists() and _lives(pid) for pid in pids))


def _lives(pid: str) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


SHOW = "ps -ww -o args= -p $PPID; true"


def test_the_worker_of_kon_map_is_a_spare_and_that_of_a_program_is_started(tmp_path: Path) -> None:
    """A program may have threads, and things open that kon knows nothing of."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    kon = [sys.executable, "-m", "kon", "map", SHOW, ":::", "1"]
    of_command = subprocess.run(kon, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert of_command.stdout.startswith("kon.launch.process ")
    program = f"import kon; print(kon.map({SHOW!r}, ['1'])[0]['stdout'])"
    words = [sys.executable, "-c", program]
    of_program = subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=60, check=True
    )
    assert " -P -m kon.launch.process " in of_program.stdout


def test_a_program_that_is_under_test_has_threads_or_spares_that_end() -> None:
    for each in fork(1):
        each.dismiss()
        assert each.poll() == 0


@pytest.mark.parametrize("kept", [False, True], ids=["nobody keeps", "somebody keeps"])
def test_tasks_wait_for_the_workers_of_a_run_whose_records_are_kept(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock starts when they are there. Nobody reads the clock of a run whose records go with it."""
    waited: list[str] = []
    until_ready = LocalRun._until_ready

    async def note(self: LocalRun, control: Control) -> None:
        waited.append(self.spec.run)
        await until_ready(self, control)

    monkeypatch.setattr(LocalRun, "_until_ready", note)
    kon.map("true {}", ["1", "2"], out=str(tmp_path / "out") if kept else None, workers=1)
    assert len(waited) == kept

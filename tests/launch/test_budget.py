"""`--max-cost`: what would cost too much is not begun, what has is paused, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.backends.emulator import Emulator
from kon.backends.prices import usual_prices
from kon.core.errors import OverBudget, StoreError
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.experiment import load
from kon.experiment.single import single
from kon.launch import budget
from kon.launch.budget import Budget, Spending
from kon.launch.local import LocalRun
from kon.launch.requeue import requeue
from tests.cli.given import invoke
from tests.launch.stopping import WAITS, tell_when_stopped

BACKEND = "{name: aws, depth_lag_s: 1, prefix: %s}"

KNOWN = """\
name: known
backend: {backend}
workload: {{kind: sleep, count: 100, seconds: 0.01}}
visibility_s: 3
"""

UNKNOWN = """\
name: unknown
backend: {backend}
workload: {{kind: shell, count: 60, command: WAITS}}
visibility_s: 3
workers: 2
"""


@pytest.fixture
def folder(tmp_path: Path, on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(budget, "SPENDING_PAUSE_S", 0.5)
    return tmp_path


@pytest.fixture
def stops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_when_stopped(folder, monkeypatch)


def write(folder: Path, text: str, prefix: str) -> Path:
    file = folder / "exp.yml"
    file.write_text(text.format(backend=BACKEND % prefix).replace("WAITS", WAITS))
    return file


def test_what_would_cost_too_much_is_not_begun(folder: Path) -> None:
    refused = invoke("run", write(folder, KNOWN, "refused"), "-q", "--max-cost", "0.00001usd")
    assert refused.exit_code == 4, refused.output
    assert "1 run would cost about $0.0" in refused.stderr
    assert "--max-cost is $1e-05; nothing was begun" in refused.stderr
    assert not (folder / "results/known/known-lease-w1-r1").exists()
    hosts = invoke(
        "run", write(folder, KNOWN, "refused"), "-q", "--max-cost", "0.00015", "--instance", "t3.micro"
    )
    assert hosts.exit_code == 4, "an hour of a host is a cent, and a minute of it the least that is charged"


def test_what_costs_less_runs(folder: Path) -> None:
    result = invoke("run", write(folder, KNOWN, "enough"), "-q", "--max-cost", "1usd", "--json")
    assert result.exit_code == 0, result.output
    again = invoke("run", write(folder, KNOWN, "enough"), "-q", "--max-cost", "0.00001", "--json")
    assert again.exit_code == 0, "what is recorded costs nothing more"
    more = ["--max-cost", "0.00001", "--set", "workers=[1,2]"]
    assert invoke("run", write(folder, KNOWN, "enough"), "-q", *more).exit_code == 4


@pytest.mark.usefixtures("stops")
def test_a_run_that_has_cost_too_much_is_paused_and_goes_on(folder: Path) -> None:
    file = write(folder, UNKNOWN, "paused")
    stopped = invoke("run", file, "-q", "--max-cost", "0.00004")
    assert stopped.exit_code == 4, stopped.output
    assert "no estimate of what it will cost, only a limit" in stopped.stderr
    assert "the run unknown-lease-w2-r1 is paused" in stopped.stderr
    run = RunFolder(folder / "results/unknown/unknown-lease-w2-r1")
    done = sum(1 for _ in run.outcomes())
    assert not run.finished
    assert done < 60
    whole = invoke("run", file, "-q", "--max-cost", "1", "--json")
    assert whole.exit_code == 0, whole.output
    [row] = json.loads(whole.stdout)["runs"]
    assert (row["done"], row["lost"], row["failed"]) == (60, 0, 0)


@pytest.mark.usefixtures("stops")
def test_workers_that_are_paused_end_what_they_are_at(folder: Path) -> None:
    assert invoke("run", write(folder, UNKNOWN, "ends"), "-q", "--max-cost", "0.00004").exit_code == 4
    run = RunFolder(folder / "results/unknown/unknown-lease-w2-r1")
    tasks = {Event.START: set[int](), Event.KEEP: set[int]()}
    for _, line in run.event_lines():
        if line["e"] in tasks:
            first, count = line.get("r", (0, 0))
            tasks[line["e"]] |= {*line.get("i", ()), *range(first, first + count)}
    assert tasks[Event.START]
    assert tasks[Event.START] == tasks[Event.KEEP], "a second SIGTERM would have ended them with their tasks"


def test_what_would_cost_too_much_is_not_queued(folder: Path) -> None:
    file = write(folder, KNOWN, "submit")
    refused = invoke("submit", file, "--max-cost", "0.00001usd")
    assert (refused.exit_code, refused.stdout) == (4, ""), refused.output
    assert "nothing was begun" in refused.stderr
    assert not (folder / "results").exists()
    queued = invoke("submit", file, "--max-cost", "1usd")
    assert queued.exit_code == 0, queued.output
    assert "kon collect results/known/known-lease-w1-r1 --max-cost 1usd" in queued.stderr


def test_a_client_that_comes_later_keeps_to_a_limit(folder: Path) -> None:
    run = "known-lease-w1-r1"
    assert invoke("submit", write(folder, KNOWN, "later"), "-q").exit_code == 0
    refused = invoke("collect", run, "-q", "--max-cost", "0.00001")
    assert refused.exit_code == 4, refused.output
    assert "1 run would cost about $0.0" in refused.stderr
    assert not list((folder / "results/known" / run).glob("events/w*")), "no worker was started"
    collected = invoke("collect", run, "-q", "--max-cost", "1usd", "--json")
    assert collected.exit_code == 0, collected.output
    assert json.loads(collected.stdout)["runs"][0]["done"] == 100


@pytest.mark.usefixtures("stops")
@pytest.mark.long
def test_a_collected_run_that_has_cost_too_much_is_paused_and_goes_on(folder: Path) -> None:
    run = "unknown-lease-w2-r1"
    assert invoke("submit", write(folder, UNKNOWN, "collected"), "-q").exit_code == 0
    stopped = invoke("collect", run, "-q", "--max-cost", "0.00008")
    assert stopped.exit_code == 4, stopped.output
    assert f"the run {run} is paused" in stopped.stderr
    assert not RunFolder(folder / "results/unknown" / run).finished
    again = invoke("collect", run, "-q", "--max-cost", "0.00008")
    assert again.exit_code == 4
    assert "that was spent before" in again.stderr
    whole = invoke("collect", run, "-q", "--max-cost", "1", "--json")
    assert whole.exit_code == 0, whole.output
    [row] = json.loads(whole.stdout)["runs"]
    assert (row["done"], row["lost"], row["failed"]) == (60, 0, 0)


@pytest.mark.long
def test_what_was_cancelled_is_collected_whatever_it_would_have_cost(folder: Path) -> None:
    assert invoke("submit", write(folder, KNOWN, "cancelled"), "-q").exit_code == 0
    assert invoke("cancel", "known-lease-w1-r1").exit_code == 0
    collected = invoke("collect", "known-lease-w1-r1", "-q", "--max-cost", "0.00001", "--json")
    assert collected.exit_code == 1, collected.output
    assert json.loads(collected.stdout)["runs"][0]["cancelled"] == 100


@pytest.mark.long
def test_a_run_of_which_nobody_knows_any_more_what_it_is_has_no_estimate(folder: Path) -> None:
    file = write(folder, KNOWN, "changed")
    assert invoke("submit", file, "-q").exit_code == 0
    file.write_text(file.read_text().replace("0.01", "0.02"))
    collected = invoke("collect", "known-lease-w1-r1", "-q", "--max-cost", "1")
    assert collected.exit_code == 0, collected.output
    assert "no estimate of what it will cost, only a limit" in collected.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-cost", "1"], "nothing of this is paid for"),
        (["--max-cost", "many", "--set", "backend=aws"], "expected an amount in US dollars"),
        (["--max-cost", "0", "--set", "backend=aws"], "expected more than 0"),
        (["--instance", "t3.micro"], "--instance and --spot are for --max-cost"),
        (["--max-cost", "1", "--instance", "t9.huge"], 'no price for the instance "t9.huge"'),
    ],
)
def test_what_can_not_be_meant(tmp_path: Path, options: list[str], said: str) -> None:
    file = tmp_path / "exp.yml"
    file.write_text("name: x\nworkload: {kind: sleep, count: 1, seconds: 0}\n")
    refused = invoke("run", file, "-q", "--out", str(tmp_path / "out"), *options)
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.output
    if "--set" not in options:
        assert invoke("submit", file, "-q", "--out", str(tmp_path / "out")).exit_code == 0
        refused = invoke("collect", str(tmp_path / "out/x-lease-w1-r1"), "-q", *options)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.output


def _recorded(folder: Path) -> RunFolder:
    """A run of KNOWN that is over, and in which 40 of 100 tasks have failed."""
    [cell] = load(write(folder, KNOWN, "again"))[0].cells()
    run = RunFolder(folder / "results/known" / cell.spec.run)
    run.write_run(cell.spec, {})
    outcomes = [Outcome(each, 1, State.DONE if each < 60 else State.DEAD) for each in range(100)]
    run.results.write_bytes(encode(Answers("w1", outcomes)) + b"\n")
    run.write_summary({"done": 60, "tasks": 100})
    return run


def _estimate_usd(*options: str) -> float:
    """What the command says that its run would cost."""
    hosts = ["--instance", "c7i.large"]  # so dear that four digits of it tell a share
    refused = invoke("run", "exp.yml", "-q", "--max-cost", "0.0000001", *hosts, *options)
    assert refused.exit_code == 4, refused.output
    return float(refused.stderr.split("would cost about $")[1].split(",")[0].split(" ")[0])


def test_what_it_costs_to_run_tasks_again_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was estimated for them: they had been answered."""
    monkeypatch.chdir(tmp_path)
    run = _recorded(tmp_path)
    limit = ["--max-cost", "0.0000001", "--dry-run"]
    assert invoke("run", "exp.yml", "-q", *limit).exit_code == 0, "it is recorded"
    whole_usd = _estimate_usd("--out", "elsewhere")
    again_usd = _estimate_usd("--rerun-failed", "--dry-run")
    assert again_usd == pytest.approx(0.4 * whole_usd, rel=0.2)
    requeue(run, set(range(60, 80)))
    assert _estimate_usd() == pytest.approx(0.2 * whole_usd, rel=0.4)


class Records:
    """A run of 10 tasks, its records and what it has cost by them."""

    def __init__(self, root: Path, elsewhere_usd: float | None = None, backend: str = "aws") -> None:
        self.spec = RunSpec("r", "x", Plugin(backend), Plugin("lease"), Plugin("sleep"), tasks=10, workers=2)
        self.root = root
        self.folder = RunFolder(root / "r")
        self.folder.write_run(self.spec, {})
        self.folder.events.mkdir()
        self._elsewhere = None if elsewhere_usd is None else {"r": elsewhere_usd}
        self.look_again()

    def look_again(self) -> None:
        """As a client that is started later."""
        self._spending = Spending(
            Budget(1.0, usual_prices()), self.root, [self.spec], elsewhere_usd=self._elsewhere
        )

    def answer(self, *indexes: int, attempt: int = 1, state: State = State.DONE, worker: str = "w1") -> None:
        with self.folder.results.open("ab") as out:
            outcomes = [Outcome(each, attempt, state) for each in indexes]
            out.write(encode(Answers(worker, outcomes)) + b"\n")

    def bill(self, life: str, requests: float) -> None:
        line = {"e": Event.USAGE, "w": life, "t": 1.0, "billed": {"sqs.requests": requests}}
        with (self.folder.events / f"{life}.jsonl").open("a") as out:
            out.write(json.dumps(line) + "\n")

    def usd(self) -> float:
        for _ in self._spending.read():
            pass
        return self._spending.usd(0.0)


def test_hosts_that_keep_their_records_cost_by_what_they_have_done(tmp_path: Path) -> None:
    run = Records(tmp_path, elsewhere_usd=0.5)
    assert run.usd() == 0.0
    run.answer(0, 1)
    run.answer(1, 2)
    assert run.usd() == pytest.approx(0.15)
    run.answer(3)
    assert run.usd() == pytest.approx(0.20)
    run.look_again()
    assert run.usd() == pytest.approx(0.20), "nobody has fetched what they recorded"


def test_what_hosts_have_recorded_is_counted_once(tmp_path: Path) -> None:
    run = Records(tmp_path, elsewhere_usd=0.5)
    run.answer(0, 1, 2, 3)
    run.bill("client", 0.0)
    run.bill("w1.a", 1e6)  # fetched after the run was paused
    assert run.usd() == pytest.approx(0.40)
    run.answer(4)
    assert run.usd() == pytest.approx(0.45)


def test_what_is_run_again_costs_again(tmp_path: Path) -> None:
    """Whether the limit was there when the run was opened again, or came later."""
    run = Records(tmp_path, elsewhere_usd=0.5)
    run.answer(*range(6))
    run.answer(6, 7, attempt=3, state=State.FAILED)
    run.answer(8, state=State.CANCELLED, worker="client")
    assert run.usd() == pytest.approx(0.40), "what nobody began costs nothing"
    run.answer(7, attempt=4, state=State.FAILED, worker="client")  # it is to stay as it is
    run.folder.reopen(attempts_before=3)
    assert run.usd() == pytest.approx(0.40)
    run.answer(6, 8, attempt=4)
    assert run.usd() == pytest.approx(0.50)
    run.look_again()
    assert run.usd() == pytest.approx(0.50)


def test_what_is_simulated_costs_nothing(tmp_path: Path) -> None:
    run = Records(tmp_path, backend="sim")
    run.bill("w1.a", 1e6)
    assert run.usd() == 0.0


def test_what_the_client_itself_has_spent_counts_as_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SPENDING_PAUSE_S", 0.1)

    class Billed(LocalRun):
        """Its records will say so at its end."""

        @property
        def billed(self) -> dict[str, float]:
            return {"sqs.requests": 1e7}

    async def main() -> None:
        cell = single("sleep", {}, [3600], run="r", backend="memory")
        run = Billed(RunFolder(tmp_path / "r"), cell.spec, cell.workload)
        spending = Spending(Budget(1.0, usual_prices()), tmp_path, [cell.spec])
        work = budget.within(spending, lambda: run, run.run(), time.time)
        await asyncio.wait_for(work, 60.0)  # where it does not count, the run would take an hour

    with pytest.raises(OverBudget, match=r"^\$4\.0000 are spent"):
        asyncio.run(main())


def test_what_was_spent_is_what_lives_have_told_and_the_time_of_hosts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r")
    spec = RunSpec("r", "x", Plugin("aws"), Plugin("lease"), Plugin("sleep"), tasks=1, workers=2)
    folder.write_run(spec, {})
    folder.events.mkdir()
    spending = Spending(Budget(1.0, usual_prices(), hour_usd=0.36), tmp_path, [spec])
    million = {"sqs.requests": 1e6}  # 40 cents

    def usd_at(now_s: float) -> float:
        for _ in spending.read():
            pass
        return spending.usd(now_s)

    def append(file: str, **line: object) -> None:
        with (folder.events / file).open("a") as out:
            out.write(json.dumps(line) + "\n")

    append("w1.jsonl", e=Event.USAGE, w="w1.1", t=1.0, billed={"sqs.requests": 5.0})
    append("w1.jsonl", e=Event.USAGE, w="w1.1", t=2.0, billed=million)
    append("w1.jsonl", e=Event.USAGE, w="w1.2", t=3.0, billed=million)
    assert usd_at(100.0) == pytest.approx(0.80), "each life, by its last word"
    append("client.jsonl", e=Event.OPEN, t=0.0, billed={})
    assert usd_at(100.0) == pytest.approx(0.80 + 2 * 100 * 0.0001)
    append("client.jsonl", e=Event.USAGE, t=200.0, billed=million)
    assert usd_at(1e9) == pytest.approx(1.20 + 2 * 200 * 0.0001), "while nobody is there, no host counts"
    append("client.jsonl", e=Event.OPEN, t=1_000.0, billed={})
    assert usd_at(1_100.0) == pytest.approx(1.20 + 2 * 300 * 0.0001)


def test_a_run_whose_spending_cant_be_read_is_ended_before_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself it would be cut off with its event loop, and its own end be lost."""
    monkeypatch.setattr(budget, "SPENDING_PAUSE_S", 0.01)
    ends: list[str] = []

    def unreadable() -> Iterator[None]:
        yield from ()
        raise StoreError("client.jsonl: can't be read")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ends.append("the work")

    async def main() -> None:
        spending = Spending(Budget(1.0, usual_prices()), tmp_path, [])
        monkeypatch.setattr(spending, "read", unreadable)
        try:
            await budget.within(spending, lambda: None, work(), time.time)
        finally:
            ends.append("its guard")

    with pytest.raises(StoreError, match="can't be read"):
        asyncio.run(main())
    assert ends == ["the work", "its guard"]

"""What a good experiment file means."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from kon.core.spec import Faults, Plugin
from kon.experiment import load, loads
from tests.experiment.given import MINIMAL, one


def test_every_key_reaches_the_run() -> None:
    experiment = one(
        """\
        name: all-keys
        backend: {name: sqlite, durability: full}
        workload: {kind: sleep, count: 10, seconds: 0.5, per: worker}
        strategies: [{name: lease, lease_s: 20, skew_s: 1}]
        workers: [3]
        processes: 2
        slots: 4
        prefetch: 5
        bundle: 6
        repeats: 2
        visibility_s: 7
        attempts: 8
        max_receives: 9
        timeout_s: 10
        backoff_s: 11
        flush_s: 0.12
        idle_s: 13
        drain_s: 14
        faults: {duplicate_rate: 0.15, kill_workers: 16}
        seed: 17
        """
    )
    first, second = (cell.spec for cell in experiment.cells())
    assert (first.repeat, second.repeat) == (1, 2)
    assert first.run == "all-keys-lease-w3-r1"
    assert first.experiment == "all-keys"
    assert first.backend == Plugin("sqlite", {"durability": "full"})
    assert first.strategy == Plugin("lease", {"lease_s": 20, "skew_s": 1})
    assert first.kind == Plugin("sleep")
    assert (first.tasks, first.ideal_s) == (30, 15.0)
    assert (first.workers, first.processes, first.slots) == (3, 2, 4)
    assert (first.prefetch, first.bundle, first.visibility_s) == (5, 6, 7)
    assert (first.attempts, first.max_receives, first.timeout_s) == (8, 9, 10)
    assert (first.backoff_s, first.flush_s, first.idle_s, first.drain_s) == (11, 0.12, 13, 14)
    assert first.faults == Faults(0.15, 16)
    assert first.seed == 17


def test_every_option_of_a_run_can_be_set_or_follows_from_the_file() -> None:
    """A key that is added to RunSpec has to come from somewhere."""
    from kon.core.spec import RunSpec
    from kon.experiment.model import ExperimentForm

    follow = {"run", "experiment", "strategy", "kind", "tasks", "repeat", "workload_digest", "ideal_s"}
    assert set(RunSpec.__struct_fields__) - follow <= set(ExperimentForm.model_fields)


def test_defaults() -> None:
    experiment = one("name: x\nworkload: {kind: sleep, count: 1, seconds: 0}\n")
    [cell] = experiment.cells()
    assert experiment.backend == Plugin("sqlite")
    assert cell.spec.strategy == Plugin("lease")
    assert cell.spec.workers == 1
    assert cell.spec.timeout_s is None
    assert cell.spec.idle_s is None


def test_a_lone_value_stands_for_a_list_of_one() -> None:
    experiment = one(MINIMAL + "strategies: none\nworkers: 4\n")
    [cell] = experiment.cells()
    assert (cell.spec.strategy.name, cell.spec.workers) == ("none", 4)


def test_none_is_a_strategy_and_no_null() -> None:
    assert one(MINIMAL + "strategies: [none]\n").strategies == [Plugin("none")]


@pytest.mark.parametrize(
    ("text", "value"), [("1e-1", 0.1), (".5", 0.5), ("5.", 5.0), ("1E0", 1.0), ("2", 2.0)]
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert one(MINIMAL + f"backoff_s: {text}\n").form.backoff_s == value


def test_null_means_no_limit_where_there_may_be_none() -> None:
    form = one(MINIMAL + "timeout_s: null\nidle_s: ~\n").form
    assert (form.timeout_s, form.idle_s) == (None, None)


def test_several_experiments_in_one_file_keep_their_order(tmp_path: Path) -> None:
    file = tmp_path / "both.yml"
    file.write_text(f"---\n{MINIMAL}---\n{MINIMAL.replace('name: x', 'name: y')}")
    assert [each.name for each in load(file)] == ["x", "y"]


def test_anchors_and_merge_keys_work() -> None:
    experiment = one(
        """\
        name: x
        backend: memory
        workload: {kind: sleep, count: &n 3, seconds: 0}
        slots: *n
        strategies: [{&options name: lease, lease_s: 9}, {<<: {name: lease, lease_s: 9}, lease_s: 8}]
        """
    )
    assert experiment.form.slots == 3
    assert [each.options for each in experiment.strategies] == [{"lease_s": 9}, {"lease_s": 8}]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "windows.yml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(file)[0].name == "x"


def test_limit_takes_the_first_tasks_of_each_run() -> None:
    text = MINIMAL.replace("seconds: 0", "seconds: 1, per: worker") + "workers: [1, 2]\n"
    [experiment] = loads(text, "x.yml", Path(), limit=15)
    one_worker, two_workers = experiment.cells()
    assert (one_worker.spec.tasks, two_workers.spec.tasks) == (10, 15)
    assert (one_worker.spec.ideal_s, two_workers.spec.ideal_s) == (10.0, 15.0)
    assert len(list(two_workers.workload.bodies(2))) == 15


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_refused(limit: int, tmp_path: Path) -> None:
    file = tmp_path / "x.yml"
    file.write_text(MINIMAL)
    with pytest.raises(ConfigurationError, match="--limit: expected a whole number of 1 or more"):
        load(file, limit=limit)

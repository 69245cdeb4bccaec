"""Each pair of options of a command: of two, none is passed over in silence."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest

from kon.cli.group import kon
from tests.cli.given import invoke, process, write

EXPERIMENT: Final = """\
name: pairs
backend: memory
workload: {kind: shell, command: 'echo {}; test {} != 2', items: [1, 2, 3]}
strategies: [none, lease]
attempts: 1
"""

SIMULATED: Final = """\
name: simulated
backend: {name: sim, latency: aws-us-east-1, instance: t3.micro}
workload: {kind: sleep, count: 4, seconds: 1}
"""


class Walk(NamedTuple):
    """A command line with a place for options, and options that each have an effect on it.

    unseen: options of the command whose effect is not seen there.
    """

    line: str
    options: tuple[str, ...]
    unseen: str = ""


WALKS: Final = (
    Walk(
        "table results/pairs results/simulated {}",
        (
            "--json",
            "--format csv",
            "--format latex",
            "--view lengths",
            "--width 40",
        ),
        "--root --wide --reference",
    ),
    Walk("table results/pairs --wide {}", ("--view lengths", "--width 40"), "--root"),
    Walk(
        "results pairs-lease-w1-r1 {}",
        ("--failed", "--format csv", "--json", "--stdout", "--links", "--objects"),
        "--root",
    ),
    Walk("status {}", ("--json", "--root results/pairs"), "--wide"),
    Walk("explain pairs-lease-w1-r1/1 {}", ("--duplicates", "--json"), "--root"),
    Walk(
        "trace pairs-lease-w1-r1 {}",
        ("--json", "--otlp http://127.0.0.1:9"),
        "--root --tasks --sample --duplicates --quiet",
    ),
    Walk("cost simulated-lease-w1-r1 {}", ("--json", "--prices prices.yml"), "--root"),
    Walk("compare pairs-none-w1-r1 pairs-lease-w1-r1 {}", ("--json",), "--root --wide"),
    Walk(
        "prove none --fault duplicate --seeds 3 --jobs 1 --quiet {}",
        ("--json", "--fault crash", "--tasks 20", "--workers 1", "--backend aws"),
        "--seeds --jobs --quiet --wide --story --coverage",
    ),
    Walk(
        "prove none --seed 3 --fault duplicate --quiet {}", ("--json", "--tasks 20", "--no-story"), "--seed"
    ),
    Walk(
        "prove none --exhaustive --fault none --jobs 1 --quiet {}",
        ("--json", "--preemptions 0", "--tasks 2"),
        "--exhaustive",
    ),
    Walk("top {}", ("--json", "--root results/pairs")),
    Walk("plot pairs-none-w1-r1 --force {}", ("--format svg", "--out figures"), "--root --force --reference"),
    Walk("rm pairs-none-w1-r1 --dry-run {}", ("--root elsewhere",), "--dry-run --with-objects --yes"),
    Walk(
        "run pairs.yml --out elsewhere --dry-run {}",
        ("--json", "--format csv", "--format json", "--set workers=2", "--limit 1"),
        "--out --dry-run --wide --rerun-failed --join --apart --metrics --emulator --live --max-cost "
        "--instance --spot --notify --quiet",
    ),
    Walk(
        "plan simulated.yml --quiet {}",
        (
            "--json",
            "--workers 2",
            "--set workers=3",
            "--model animoto",
            "--set backend.latency=animoto",
            "--instance t3.nano",
            "--set backend.instance=t3.medium",
            "--deadline 1h",
            "--budget 5usd",
        ),
        "--wide --limit --spot --autoscale --arrive --prices --quiet",
    ),
    Walk(
        "map --dry-run -j 1 {} -a items 'echo {{}} {{}}'",
        (
            "-n 3",
            "-d b",
            "-C ,",
            "-I {{}}",
            "--json",
            "--resume --joblog log",
            "--resume-failed --out o",
        ),
        "--no-run-if-empty --xargs --null --jobs --delay --load --memfree --keep-order --tag --line-buffer "
        "--ungroup --results --max-output --progress --dry-run --stdin --shell --workdir --tmpdir --attempts "
        "--timeout --halt --strategy --quiet --arg-file",
    ),
)

MAPS: Final = Walk(
    "map -j 1 {} 'echo {{}}; echo {{}}; echo e >&2; test {{}} != a' ::: a b c",
    (
        "--tag",
        "--lb",
        "-u",
        "--json",
        "-q",
        "--max-output 2",
        "--results d",
    ),
)
"""With commands that run. On one slot -k and --halt soon have no effect."""


@pytest.mark.parametrize("walk", WALKS, ids=[" ".join(walk.line.split()[:3]) for walk in WALKS])
def test_of_two_options_none_is_passed_over(walk: Walk) -> None:
    _records()
    assert _passed_over(walk, _here) == []


@pytest.mark.slow
def test_of_two_options_of_kon_map_none_is_passed_over() -> None:
    assert _passed_over(MAPS, _apart) == []


@pytest.mark.parametrize("name", sorted({walk.line.split()[0] for walk in WALKS}))
def test_a_new_option_is_walked_too(name: str) -> None:
    walks = [walk for walk in WALKS if walk.line.split()[0] == name]
    named = {word for walk in walks for text in (*walk.options, walk.unseen) for word in text.split()}
    command = kon.get_command(click.Context(kon), name)
    assert command is not None
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [
        each.opts for each in options if not each.opts[0].startswith("--log-") and not named & set(each.opts)
    ] == []


@pytest.mark.parametrize(
    "words",
    [
        "table --json --reference f.yml",
        "table --format csv --reference f.yml",
        "prove none --coverage --jobs 2",
        "prove none --coverage --json",
        "prove none --exhaustive --json --story",
        "map --json -k echo ::: a",
        "map --quiet --eta echo ::: a",
        "map --dry-run --resume --out o echo ::: a",
    ],
)
def test_what_would_be_passed_over_is_refused_at_once(words: str) -> None:
    refused = invoke(*words.split())
    assert refused.exit_code == 2
    if "--json --reference" in words:
        assert "--json and --reference ask for two things" in refused.stderr


def test_a_dry_run_refuses_what_the_run_itself_would() -> None:
    _records()
    refused = invoke("run", "pairs.yml", "--dry-run", "--max-cost", "1usd")
    assert refused.exit_code == invoke("run", "pairs.yml", "--max-cost", "1usd").exit_code == 2
    assert invoke("run", "pairs.yml", "--dry-run", "--spot").exit_code == 2


def _records() -> None:
    """Runs that are recorded here, and the files that the command lines name."""
    for text, name in ((EXPERIMENT, "pairs.yml"), (SIMULATED, "simulated.yml")):
        invoke("run", write(Path(), text, name), "--quiet")
    prices = Path(__file__).parents[2] / "kon/backends/prices/us-east-1-2026.yml"
    Path("prices.yml").write_text(prices.read_text().replace("region: us-east-1", "region: elsewhere"))
    Path("items").write_text("a,1\nb,2\nc,3\nd,4\n")


def _passed_over(walk: Walk, run: Callable[[list[str]], Any]) -> list[str]:
    """Pairs that do what the first of them does alone, where the second one alone does something else."""
    without = run(shlex.split(walk.line.format("")))
    alone = {text: run(shlex.split(walk.line.format(text))) for text in walk.options}
    assert without[0] in (0, 1, 3), without
    assert [text for text, does in alone.items() if does == without] == [], "no effect, so nothing to be seen"
    found = []
    for pair in itertools.combinations(walk.options, 2):
        both = run(shlex.split(walk.line.format(" ".join(pair))))
        for one, other in (pair, pair[::-1]):
            differ = alone[other] not in (without, alone[one])
            same_option = one.split()[0] == other.split()[0] and "=" not in one
            if both == alone[one] and both[0] != 2 and differ and not same_option:
                found.append(f"{other} is passed over with {one}")
    return found


def _here(words: list[str]) -> tuple[int, str]:
    result = invoke(*words)
    return result.exit_code, result.output


def _apart(words: list[str]) -> tuple[int, str, str, list[str]]:
    """In a process: exit code, output without figures, and the files that it leaves."""
    done = process(*words, cwd=Path())
    said = re.sub(r"\d+(\.\d+)?", "9", done.stderr), re.sub(r"\d+(\.\d+)?", "9", done.stdout)
    files = [f"{path} {path.read_text()}" for path in sorted(Path("d").rglob("*")) if path.is_file()]
    shutil.rmtree("d", ignore_errors=True)
    return done.returncode, *said, files

"""`kon report`, `kon plot` and `kon compare`."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder
from kon.report.compare import as_text, compare
from tests.cli.given import SHELL, SLEEPS, invoke, process, write
from tests.house import PROJECT

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """What a browser would make of a page: its tags, and text by the tag that it stands in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page(*args: str) -> Page:
    made = invoke("report", *args, "--out", "page.html", "--force")
    assert (made.exit_code, made.stdout) == (0, "page.html\n")
    return Page(Path("page.html").read_text())


def test_a_page_holds_all_there_is_to_know(tmp_path: Path) -> None:
    file = write(tmp_path, SLEEPS + "seed: 7  # lucky\n")
    invoke("run", file, "--set", "workers=[1, 2]", "--limit", "10")
    found = page("results/sleeps")
    for text in (
        "sleeps-lease-w1-r1",
        "2 runs, 20 of 20 tasks done",
        "sleeps: 10 x sleep on memory",
        "seed: 7  # lucky",
        f"kon run {file} --set 'workers=[1, 2]' --limit 10 --out results/sleeps-again",
        f"cd {tmp_path}",
        "kon, Python",
        "processors",
    ):
        assert text in found.text, text
    images = [each["aria-label"] or "" for each in found.of("svg")]
    assert any(each.startswith("Tasks a second by workers") for each in images)
    assert sum("lives of workers" in each for each in images) == 2
    assert sum("backlog" in each for each in images) == 2


def test_the_page_can_be_repeated_from(tmp_path: Path) -> None:
    """The command on it makes the same run: its key is the same."""
    invoke("run", write(tmp_path), "--limit", "5")
    page("results/sleeps")
    [command] = re.findall(r"kon run [^<\n]*", Path("page.html").read_text())
    again = command.replace("&#39;", "'").split()
    assert process(*again[1:], cwd=tmp_path).returncode == 0
    keys = [json.loads(file.read_text())["key"] for file in tmp_path.glob("results/*/*/run.json")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_tables_are_sorted_by_buttons(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    found = page("results/sleeps")
    headers = [number for number, (tag, _) in enumerate(found.tags) if tag == "th"]
    assert headers
    for number in headers:
        assert found.tags[number][1]["scope"] == "col"
        assert found.tags[number + 1] == ("button", {"type": "button"})
    assert 'setAttribute("aria-sort"' in found.text
    assert any(cell.get("data-key") == "20" for cell in found.of("td"))


def test_nothing_is_fetched_and_no_other_script_runs(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    found = page("results/sleeps")
    assert [tag for tag, _ in found.tags if tag in ("link", "img", "iframe", "object", "embed")] == []
    assert found.of("script") == [{}]
    [policy] = [each["content"] or "" for each in found.of("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    for _, attributes in found.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))


def test_what_tasks_print_is_text(tmp_path: Path) -> None:
    file = write(tmp_path, SHELL + f"# {HOSTILE}\n")
    invoke("run", file)
    folder = tmp_path / "results/shells/shells-lease-w1-r1"
    results = folder / "results.jsonl"
    bad = Outcome(0, 1, State.FAILED, {"stderr": HOSTILE, "stdout": "x" * 5_000}, HOSTILE, 1.0, 2.0)
    results.write_bytes(results.read_bytes() + encode(Answers(HOSTILE, [bad])) + b"\n")
    found = page("results/shells")
    assert found.of("script") == [{}]
    assert found.of("img") == []
    assert found.text.count(HOSTILE) >= 4, "as error, output, worker, and in the experiment file"
    assert "(5," in found.text, "long output is cut, and says so"


def test_what_failed_is_told(tmp_path: Path) -> None:
    invoke("run", write(tmp_path, SHELL))
    found = page("results/shells")
    assert "1 task is failed." in found.text
    assert "shells-lease-w1-r1/1" in found.text


def test_a_run_without_a_finished_task_has_a_page(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    folder = tmp_path / "results/sleeps/sleeps-lease-w1-r1"
    (folder / "summary.json").unlink()
    (folder / "results.jsonl").unlink()
    for file in (folder / "events").iterdir():
        file.unlink()
    found = page("results/sleeps")
    assert "No run is finished yet." in found.text
    assert "Not finished: sleeps-lease-w1-r1." in found.text
    assert "0 of 20 tasks done" in found.text


def test_a_run_that_was_killed_in_mid_line_has_a_page_that_says_so(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    folder = tmp_path / "results/sleeps/sleeps-lease-w1-r1"
    (folder / "summary.json").unlink()
    with (folder / "results.jsonl").open("ab") as file:
        file.write(b'["w1",[[3,1,"do')
    found = page("results/sleeps")
    assert "results.jsonl:" in found.text
    assert "half a line, left by a killed process; read without it" in found.text


def test_a_page_that_is_there_is_left(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    (tmp_path / "sleeps-lease-w1-r1.html").write_text("mine")
    refused = invoke("report", "sleeps-lease-w1-r1")
    assert refused.exit_code == 2
    assert "sleeps-lease-w1-r1.html is there already and was left as it is; --force" in refused.stderr
    assert (tmp_path / "sleeps-lease-w1-r1.html").read_text() == "mine"
    assert invoke("report", "sleeps-lease-w1-r1", "--force").exit_code == 0
    assert (tmp_path / "sleeps-lease-w1-r1.html").read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob(".*html*")), "nothing is left beside it"


@pytest.mark.parametrize("command", ["report", "plot", "table"])
def test_nothing_to_report(tmp_path: Path, command: str) -> None:
    assert invoke(command).exit_code == 2


def test_records_of_a_newer_kon_are_refused(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    file = tmp_path / "results/sleeps/sleeps-lease-w1-r1/run.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 9'))
    refused = invoke("report", "results/sleeps")
    assert refused.exit_code == 2
    assert "written by a newer kon (records of version 9" in refused.stderr
    assert not (tmp_path / "sleeps.html").exists()


@pytest.mark.long
def test_plots_are_files(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "--set", "workers=[1, 2]")
    made = invoke("plot", "results/sleeps", "--format", "svg")
    files = {Path(line).name for line in made.stdout.splitlines()}
    assert {"sleeps-throughput.svg", "sleeps-latency-w1.svg", "sleeps-lease-w2-r1-workers.svg"} <= files
    assert all(Path(line).read_text().startswith("<?xml") for line in made.stdout.splitlines())
    refused = invoke("plot", "results/sleeps")
    assert refused.exit_code == 2
    assert not list(Path("plots").glob("*.png")), "all or none"
    again = invoke("plot", "results/sleeps", "--format", "png", "--out", "figures")
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in again.stdout.splitlines())


def test_two_runs_are_compared(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "--set", "strategies=[none, lease]", "--set", "repeats=2")
    one = invoke("compare", "sleeps-none-w1-r1", "sleeps-lease-w1-r1")
    assert one.exit_code == 0
    assert re.search(r"(?m)^strategy.name +none +lease$", one.stdout)
    assert "cannot tell: one repeat alone" in one.stdout
    assert "perhaps" not in one.stdout
    all_repeats = json.loads(invoke("compare", "sleeps-none-w1", "sleeps-lease-w1", "--json").stdout)
    [pair] = all_repeats["pairs"]
    assert pair["a"] == ["sleeps-none-w1-r1", "sleeps-none-w1-r2"]
    assert {each["verdict"] for each in pair["changes"]} <= {"hidden", "apart"}
    assert pair["differences"] == [{"name": "strategy.name", "a": "none", "b": "lease"}]


def test_a_comparison_fits_a_terminal_and_leaves_no_middle_out(tmp_path: Path) -> None:
    """Of a verdict it was the words that count; of two commands it may be all that differs."""
    long = "; ".join(f"echo {number}" for number in range(20))
    file = write(tmp_path)
    for name, word in (("a", "one"), ("b", "other")):
        shell = f"workload={{kind: shell, command: '{long}; echo {word}; {long}', items: [1]}}"
        assert invoke("run", file, "--set", shell, "--set", "repeats=4", "--out", name).exit_code == 0
    runs = [[RunFolder(each) for each in sorted(Path(name).iterdir()) if each.is_dir()] for name in "ab"]
    text = as_text(compare(*runs), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text
    assert "echo other" in text
    assert text.count("does it mean anything?") == 1, "the table is whole"


@pytest.mark.parametrize("others", [[], ["--reference", str(PROJECT / "workloads" / "published.yml")]])
def test_a_page_says_whose_lines_are_grey_where_there_are_any(others: list[str], tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "--set", "workers=[1, 2]")
    assert invoke("report", "results/sleeps", *others).exit_code == 0
    text = Path("sleeps.html").read_text()
    assert ("Grey lines" in text) == bool(others)
    assert ("workers: clone A (2016), SQS; clone B (2016), SQS;" in text) == bool(others)


def test_folders_are_matched_run_by_run(tmp_path: Path) -> None:
    file = write(tmp_path)
    invoke("run", file, "--set", "workers=[1, 2]", "--out", "results/a")
    invoke("run", file, "--set", "workers=[2, 4]", "--set", "prefetch=50", "--out", "results/b")
    text = invoke("compare", "results/a", "results/b").stdout
    assert text.startswith("A: sleeps-lease-w2-r1\nB: sleeps-lease-w2-r1\n")
    assert re.search(r"(?m)^prefetch +auto +50$", text)
    assert "only in A: sleeps-lease-w1-r1" in text
    assert "only in B: sleeps-lease-w4-r1" in text


def test_what_can_not_be_compared(tmp_path: Path) -> None:
    file = write(tmp_path)
    invoke("run", file, "--set", "workers=[1, 2]", "--out", "results/a")
    invoke("run", file, "--set", "workers=[3, 4]", "--out", "results/b")
    refused = invoke("compare", "results/a", "results/b")
    assert (refused.exit_code, "nothing in common" in refused.stderr) == (2, True)
    (tmp_path / "results/a/sleeps-lease-w1-r1/summary.json").unlink()
    refused = invoke("compare", "results/a/sleeps-lease-w1-r1", "results/b")
    assert refused.exit_code == 2
    assert "no run of it is finished" in refused.stderr

"""Variables of playbooks: the table refuses what is wrong, and playbooks go by the table."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import yaml

from tests.playbooks.plays import PROJECT
from tests.playbooks.table import CASES, PLAYBOOKS, TABLE, plugin


def test_each_variable_is_refused_in_each_way_in_which_it_can_be_wrong() -> None:
    assert len(CASES) > 700
    for play, name, value in CASES:
        with pytest.raises(plugin().Unfit, match=name):
            print(play, name, repr(value), plugin().fit(name, TABLE[name], value, play))


def test_defaults_are_right_and_every_variable_has_one() -> None:
    defaults = yaml.safe_load((PROJECT / "inventory/group_vars/all.yml").read_text())
    assert {*defaults, "run"} == set(TABLE)
    for name, value in defaults.items():
        assert (value is None) == bool(TABLE[name].get("unsaid")), name
        if (isinstance(value, str) and "{{" in value) or name in ("kon", "workers"):
            continue
        plugin().fit(name, TABLE[name], value, "validate")


KEYS = {"means", "plays", "needed", "says", "unsaid", "empty", "once", "else", "secret", "whole", "folder"}
"""What any variable may have; the rest goes by its type."""

BOUNDS: dict[str, tuple[set[str], ...]] = {
    "int": ({"least", "most"}, {"above", "most"}),
    "float": ({"least", "most"}, {"above", "most"}),
    "str": ({"pattern"}, {"choices"}, {"free"}),
    "list": ({"pattern"}, {"choices"}, {"free"}),
    "dict": ({"names"}, set()),
    "bool": (set(),),
    "path": (set(),),
}


def unbounded(spec: dict[str, Any]) -> str:
    """What a variable lacks; empty where it is whole."""
    if spec.get("type") not in BOUNDS:
        return f"the type {spec.get('type')}"
    if set(spec) - KEYS - {"type"} not in BOUNDS[spec["type"]]:
        return f"bounds: {sorted(set(spec) - KEYS - {'type'})}"
    if not spec.get("means") or not set(spec.get("plays") or ["none"]) <= set(PLAYBOOKS):
        return "a meaning, or playbooks that go by it"
    return "" if set(spec.get("needed", ())) <= set(spec["plays"]) else "needed is more than plays"


def test_each_variable_has_a_type_and_bounds() -> None:
    assert {name: lack for name, spec in TABLE.items() if (lack := unbounded(spec))} == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "the type None"),
        ({"type": "number"}, "the type number"),
        ({"type": "int"}, "bounds"),
        ({"type": "int", "least": 1}, "bounds"),
        ({"type": "str"}, "bounds"),
        ({"type": "list", "patern": "a"}, "bounds"),
        ({"type": "bool", "plays": ["sweeep"]}, "playbooks"),
        ({"type": "bool", "needed": ["sweep"]}, "needed"),
    ],
)
def test_a_new_variable_without_a_type_or_bounds_is_found(more: dict[str, Any], said: str) -> None:
    spec = {"type": "int", "least": 0, "most": 9, "means": "A thing.", "plays": ["run"]}
    assert unbounded(spec) == ""
    bare = {key: value for key, value in spec.items() if key in ("means", "plays")}
    assert said in unbounded(bare | more)


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("workers", "8", 8),
        ("expires_h", "0.5", 0.5),
        ("spot", "yes", True),
        ("packages", "[ffmpeg, jq]", ["ffmpeg", "jq"]),
        ("packages", "[]", []),
        ("extras", "animoto", ["animoto"]),
        ("instance_type", "t3.micro,t3a.micro", ["t3.micro", "t3a.micro"]),
        ("set", "workers=[1,2]", ["workers=[1,2]"]),
        ("ssh_from", "", ""),
        ("workers", None, None),
        ("extra_tags", '{"a": "b"}', {"a": "b"}),
        ("extra_tags", {"a": 1.5, "b": ""}, {"a": "1.5", "b": ""}),
    ],
)
def test_what_is_written_on_a_command_line_is_taken(name: str, value: Any, typed: Any) -> None:
    assert plugin().fit(name, TABLE[name], value, "validate") == typed


def test_a_folder_is_found_from_the_project_and_has_to_be_there() -> None:
    found = plugin().folder_of("payload", "workloads", str(PROJECT))
    assert (found, plugin().folder_of("payload", found, "/")) == (f"{PROJECT}/workloads", found)
    for missing in ("nosuch", "README.md"):
        with pytest.raises(
            plugin().Unfit, match=f"payload is {missing}: there is no folder {PROJECT}/{missing}"
        ):
            plugin().folder_of("payload", missing, str(PROJECT))


def test_a_name_that_is_no_variable_is_told_with_what_was_meant() -> None:
    [said] = plugin().unknown(TABLE, ["worker", "run", "ansible_user"])
    assert said == '-e worker=...: there is no variable "worker", did you mean "workers"?'


def test_what_is_secret_is_not_shown() -> None:
    with pytest.raises(plugin().Unfit) as error:
        plugin().fit("worker_environment", TABLE["worker_environment"], ["hush"], "configure")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("play", PLAYBOOKS)
def test_each_playbook_checks_its_variables_first_and_goes_by_what_was_checked(play: str) -> None:
    """A new playbook, or a new use of a variable as it was said, fails here."""
    text = (PROJECT / f"playbooks/{play}.yml").read_text()
    plays = yaml.safe_load(text)
    imported = [each for each in plays if each.get("vars", {}).get("checked_play") == play]
    assert imported, "it imports checked.yml with its own name"
    before = plays[: plays.index(imported[0])]
    assert all("import_playbook" in each for each in before), "and nothing is done before"
    raw = "|".join(name for name, spec in TABLE.items() if not spec.get("secret"))
    for line in text.splitlines():
        if line.lstrip().startswith(("#", "hosts:", "fetch_out:", "when: run is defined")):
            continue
        for expression in re.findall(r"\{\{.*?\}\}", line):
            code = re.sub(r"'[^']*'", "''", expression)
            assert not re.search(rf"(?<![\w.'-])({raw})\b(?! *=)(?!\()", code), line


@pytest.mark.parametrize("play", PLAYBOOKS)
def test_a_playbook_checks_all_that_it_goes_by(play: str) -> None:
    """What it does not check is missing where it is called alone."""
    text = (PROJECT / f"playbooks/{play}.yml").read_text()
    used = set(re.findall(r"\bchecked\.(\w+)", text)) - {"yml"}
    assert used or "{{ checked }}" in text
    assert {name for name in used if play not in TABLE[name]["plays"]} == set()


COMMAND = re.compile(r"(?m)^ *(ansible-playbook .*playbooks/(\w+)\.yml.*)$")

WRITTEN = [
    (page.name, found[1], found[2])
    for page in sorted((PROJECT / "docs").glob("*.md"))
    for found in COMMAND.finditer(page.read_text())
]


def test_the_pages_have_commands() -> None:
    assert len(WRITTEN) > 15


@pytest.mark.parametrize(("page", "command", "play"), WRITTEN, ids=range(len(WRITTEN)))
def test_each_command_on_a_page_says_variables_that_are_right(page: str, command: str, play: str) -> None:
    said: dict[str, Any] = {}
    words = iter(shlex.split(command))
    for word in words:
        if word == "-e":
            given = next(words)
            said |= json.loads(given) if given.startswith("{") else dict([given.split("=", 1)])
    assert plugin().unknown(TABLE, said) == []
    plays = ["provision", "configure", "run"] if play == "site" else [play]
    for each in plays:
        for name, spec in TABLE.items():
            if each in spec["plays"] and (name in said or each in spec.get("needed", ())):
                plugin().fit(name, spec, said.get(name), each)
    assert said.keys() <= {name for name, spec in TABLE.items() if {*plays} & {*spec["plays"]}}, page


def test_tags_are_those_of_all_plays_that_a_playbook_has() -> None:
    parts = plugin().parts_of(PROJECT / "playbooks/scale.yml")
    assert set().union(*parts) == {"always", "scale", "validate", "provision", "configure"}
    for play in PLAYBOOKS:
        options = {"args": [f"playbooks/{play}.yml"], "tags": ["all", play], "skip_tags": []}
        assert len(plugin().options_wrong(options)) == (play == "run"), (
            "of its tags there are those of `fetch` alone"
        )


@pytest.mark.parametrize(("play", "tag"), [("run", "fetch"), ("site", "provision")])
def test_a_run_is_not_begun_in_part(play: str, tag: str) -> None:
    [said] = plugin().options_wrong({"args": [f"playbooks/{play}.yml"], "tags": [tag]})
    assert said == f"--tags {tag}: a run can't be begun in part; call playbooks/{tag}.yml"
    assert plugin().options_wrong({"args": [f"playbooks/{play}.yml"], "skip_tags": [tag]}) == []

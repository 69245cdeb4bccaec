"""Slips of an operator's: each is told before anything is done, and touches nothing."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.answering import Answer, Asked, answering
from tests.lab import servers
from tests.playbooks.plays import PROJECT, Ansible, Operator, Play
from tests.playbooks.table import CASES, PLAYBOOKS

DESTRUCTIVE = ("teardown", "sweep", "scale", "configure", "provision")

MISSING = object()

SMALLEST: dict[str, dict[str, Any]] = {
    "teardown": {"run": "r1"},
    "sweep": {"run": "r1", "confirm": True},
    "scale": {"run": "r1", "workers": 8},
    "configure": {"run": "r1"},
    "provision": {"run": "r1"},
    "site": {"run": "r1"},
}
"""What each destructive playbook goes by, with nothing wrong."""


@pytest.fixture(scope="module")
def amazon() -> Iterator[tuple[str, list[str]]]:
    """A URL, and what was asked there: everything is refused."""
    asked: list[str] = []
    said = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"

    def refuse(request: Asked) -> Answer:
        asked.append(f"{request.path} {request.body.decode(errors='replace')[:200]}")
        return Answer(403, said)

    with answering(refuse) as url:
        yield url, asked


@pytest.fixture
def operator(tmp_path: Path, amazon: tuple[str, list[str]], ansible: Ansible) -> Operator:
    operator = Operator(tmp_path, servers.variables(amazon[0]))
    operator.inventory = "inventory/local.yml"
    operator.ansible = ansible
    amazon[1].clear()
    return operator


@pytest.fixture
def slips(operator: Operator) -> Callable[..., Play]:
    return operator.play


def check(
    slips: Callable[..., Play], asked: list[str], play: str, variables: dict[str, Any], name: str
) -> None:
    asked.clear()
    ended = slips(play, **variables)
    assert ended.exit_code == 2, ended.output
    assert asked == [], "Amazon was asked nothing"
    assert "Nothing was changed" in ended.said
    assert name in ended.said
    assert ended.changes == []


@pytest.mark.parametrize(
    ("play", "name", "value"),
    [
        ("teardown", "run", ""),
        ("teardown", "run", MISSING),
        ("teardown", "regoin", "eu-west-1"),
        ("scale", "workers", "eight"),
        ("scale", "workers", MISSING),
        ("provision", "workers", ""),
        ("configure", "run", "R1"),
        ("configure", "payload", "nosuch"),
    ],
)
def test_a_slip_of_the_operators_touches_nothing(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], play: str, name: str, value: Any
) -> None:
    said = {key: each for key, each in {**SMALLEST[play], name: value}.items() if each is not MISSING}
    check(slips, amazon[1], play, said, name)


@pytest.mark.parametrize("said", [["AWS_REGION"], pytest.param([], marks=pytest.mark.long)])
def test_without_a_slip_amazon_is_asked(
    operator: Operator, amazon: tuple[str, list[str]], said: list[str]
) -> None:
    """Else the tests around would show nothing. boto3 knows one of the two names, other programs both, and
    playbooks have a default: what was made by any of them is removed by all of them."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if name not in said:
            del operator.environment[name]
    ended = operator.play("teardown", **SMALLEST["teardown"])
    assert ended.exit_code == 2
    assert amazon[1], ended.output


@pytest.mark.parametrize(
    "variables",
    [{"confirm": True}, {"confirm": True, "run": "r1", "all": True}, {"confirm": "yes", "run": ""}],
)
def test_whose_is_swept_is_said_or_nothing_goes(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], variables: dict[str, Any]
) -> None:
    amazon[1].clear()
    ended = slips("sweep", **variables)
    assert (ended.exit_code, amazon[1]) == (2, []), ended.output
    assert "Nothing was removed" in ended.said or "Nothing was changed" in ended.said


@pytest.mark.parametrize(
    ("play", "defaults"),
    [("teardown", {"run": "r1"}), ("scale", {"run": "r1"}), ("sweep", {"confirm": True, "all": True})],
)
def test_a_file_of_the_inventory_says_not_what_goes(
    operator: Operator, amazon: tuple[str, list[str]], tmp_path: Path, play: str, defaults: dict[str, Any]
) -> None:
    """Patterns of hosts do not see such a file either: `scale` would end hosts that it has not drained."""
    folder = tmp_path / "inventory"
    shutil.copytree(PROJECT / "inventory", folder)
    with (folder / "group_vars/all.yml").open("a") as file:
        file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in defaults.items())
    operator.inventory = str(folder / "local.yml")
    said = {
        name: value for name, value in SMALLEST[play].items() if name not in {*defaults, "confirm", "run"}
    }
    ended = operator.play(play, **said)
    assert (ended.exit_code, amazon[1], ended.changes) == (2, [], []), ended.output
    for name in defaults:
        assert f"{name} is {defaults[name]} by a file of the inventory" in ended.said, ended.output
    assert "Nothing was changed" in ended.said


@pytest.mark.long
def test_a_playbook_that_imports_ours_says_variables_as_the_command_line_does(
    operator: Operator, amazon: tuple[str, list[str]], tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yml"
    imported = f"ansible.builtin.import_playbook: {PROJECT}/playbooks/teardown.yml"
    mine.write_text(f"- {imported}\n  vars: {{run: r1, region: eu-west-1}}\n")
    operator.variables.clear()
    ended = operator.play("teardown")
    assert (ended.exit_code, amazon[1]) == (2, []), ended.output
    command = operator.command("teardown", "-v")
    command[3] = str(mine)
    assert operator.ansible is not None
    ended = operator.ansible.play(command[1:], operator.environment)
    assert amazon[1], ended.output
    assert f"project: {PROJECT}\n" in ended.output, "and not the folder above theirs"
    assert not any("DescribeRegions" in each for each in amazon[1]), "the one that was said is enough"


@pytest.mark.parametrize(
    "options",
    [["-e", "run=r1", "-e", "run=r2"], ["-e", "run=r2 run=r1"], ["-e", '{"run": "r2"}'], ["-e", "@{file}"]],
)
def test_two_names_of_a_fleet_are_refused_whichever_ansible_would_take(
    operator: Operator, amazon: tuple[str, list[str]], tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "said.yml").write_text("run: r2\n")
    options = [each.format(file=tmp_path / "said.yml") if "@" in each else each for each in options]
    check_refused(operator.play, amazon[1], options, "run is said 2 times, as r1 and as r2: say it once")


@pytest.mark.parametrize("play", ["site", "scale", "configure"])
def test_a_region_that_the_inventory_does_not_look_in_is_refused(operator: Operator, play: str) -> None:
    """Hosts would be made there that nobody can name, and hosts of a fleet here be told to end."""
    operator.inventory = Operator.inventory
    ended = operator.play(play, **SMALLEST[play], region="eu-west-1")
    assert (ended.exit_code, ended.changes) == (2, []), ended.output
    assert "call it with AWS_REGION=eu-west-1, or say -e region=us-east-1" in ended.said, ended.output
    assert "Nothing was changed" in ended.said


@pytest.mark.parametrize(
    "variables", [{"workers": 8}, {"max_cost": 1}, {"region": "eu-west-1"}, {"elastic": True}]
)
def test_a_run_without_a_fleet_refuses_what_is_about_one(
    operator: Operator, tmp_path: Path, variables: dict[str, Any]
) -> None:
    ended = operator.play("run", out=str(tmp_path / "out"), **variables)
    assert (ended.exit_code, ended.changes) == (2, []), ended.output
    [name] = variables
    assert f"-e {name}=... is about a fleet, and none is said" in ended.said, ended.output


@pytest.mark.parametrize(
    "plays", [["teardown", "site"], pytest.param([*PLAYBOOKS, "site"], marks=pytest.mark.slow)]
)
@pytest.mark.long
def test_a_missing_collection_is_told_with_the_command_that_mends_it(
    operator: Operator, amazon: tuple[str, list[str]], tmp_path: Path, plays: list[str]
) -> None:
    operator.ansible, operator.inventory = None, Operator.inventory
    operator.environment["ANSIBLE_COLLECTIONS_PATH"] = str(tmp_path / "none")
    for play in plays:
        ended = operator.play(play, **SMALLEST.get(play, {"run": "r1"}))
        assert (ended.exit_code, amazon[1]) == (2, []), ended.output
        assert "the collection amazon.aws is not installed" in ended.said, ended.output
        assert "make collections" in ended.said


@pytest.mark.parametrize(
    ("options", "plays"),
    [
        ([], ["configure", "run"]),
        (["--check"], ["bake", "fetch"]),
        pytest.param(["--check"], ["configure", "run"], marks=pytest.mark.slow),
        pytest.param([], ["bake", "fetch"], marks=pytest.mark.slow),
    ],
)
def test_a_playbook_for_hosts_says_so_where_there_are_none(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], options: list[str], plays: list[str]
) -> None:
    amazon[1].clear()
    for play in plays:
        ended = slips(play, *options, run="r1")
        assert (ended.exit_code, amazon[1]) == (2, []), (play, ended.output)
        said = re.search(r"(?i)the inventory names no host|has no host|names none", ended.said)
        assert said, ended.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "worker1"], "--limit worker1: what these playbooks judge"),
        (["--limit", "localhost,worker1"], "--limit localhost,worker1: what these playbooks judge"),
        (["--tags", "nosuch"], "--tags nosuch: no part of the playbook has it"),
        (["--skip-tags", "nosuch"], "--skip-tags nosuch: no part of the playbook has it"),
        (["--tags", "never"], "--tags never: no part of the playbook has it"),
        (["--skip-tags", "teardown,configure"], "nothing of the playbook is left"),
        (["--become"], "--become, or ANSIBLE_BECOME: root on this machine"),
    ],
)
def test_an_option_of_ansibles_that_would_leave_out_half_of_it_is_refused(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], options: list[str], said: str
) -> None:
    """A limit that leaves out localhost leaves out all checks, and a tag that no task has, all tasks: Ansible
    ends with 0 for both."""
    check_refused(slips, amazon[1], options, said)


def test_an_inventory_without_the_defaults_is_refused(
    operator: Operator, amazon: tuple[str, list[str]]
) -> None:
    operator.inventory = "/dev/null"
    check_refused(operator.play, amazon[1], [], "the defaults of inventory/group_vars/all.yml were not read")


def check_refused(played: Callable[..., Play], asked: list[str], options: Sequence[str], said: str) -> None:
    asked.clear()
    play = "teardown"  # each checks first, and in one place
    ended = played(play, *options, **SMALLEST[play])
    assert (ended.exit_code, asked) == (2, []), ended.output
    assert said in ended.said, ended.output
    assert "Nothing was changed" in ended.said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--step"], "there is no terminal. Nothing was changed"),
        (["--start-at-task", "Remove it"], "--start-at-task leaves out the checks"),
        (["--start-at-task", "nosuch"], "--start-at-task leaves out the checks"),
    ],
)
def test_what_ansible_would_end_before_the_first_task_is_refused_in_a_line(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], options: list[str], said: str
) -> None:
    """It ends with 0 where no task has the name, and with a traceback where nobody answers."""
    amazon[1].clear()
    for play in ("teardown", "site"):  # the check is in one place, which each imports first
        ended = slips(play, *options, **SMALLEST[play])
        assert (ended.exit_code, amazon[1], ended.changes) == (4, [], []), ended.output
        assert said in ended.said, ended.output
        assert "Traceback" not in ended.output


@pytest.mark.long
def test_what_is_checked_is_known_where_facts_are_no_variables(
    operator: Operator, amazon: tuple[str, list[str]]
) -> None:
    operator.ansible = None
    operator.environment["ANSIBLE_INJECT_FACT_VARS"] = "false"
    ended = operator.play("teardown", **SMALLEST["teardown"])
    assert amazon[1], ended.output


@pytest.mark.parametrize(("name", "value"), [("SKIP_TAGS", "always"), ("RUN_TAGS", "never")])
def test_an_environment_that_leaves_the_checks_out_removes_nothing(
    operator: Operator, amazon: tuple[str, list[str]], name: str, value: str
) -> None:
    operator.ansible = None
    operator.environment[f"ANSIBLE_{name}"] = value
    ended = operator.play("teardown", **SMALLEST["teardown"])
    assert (ended.exit_code, amazon[1], ended.changes) == (2, [], []), ended.output


@pytest.mark.parametrize("profile", ["", "nosuch"])
def test_a_profile_that_is_not_there_is_named(
    operator: Operator, amazon: tuple[str, list[str]], profile: str
) -> None:
    operator.environment["AWS_PROFILE"] = profile
    ended = operator.play("teardown" if profile else "validate", run="r1")
    assert (ended.exit_code, amazon[1]) == (2, []), ended.output
    assert f"AWS_PROFILE is '{profile}'" in ended.said.replace("''", "'"), ended.output


def test_the_projects_settings_are_named_where_they_were_not_read(operator: Operator) -> None:
    del operator.environment["ANSIBLE_CONFIG"]
    operator.inventory = str(PROJECT / Operator.inventory)
    command = operator.command("validate", run="r1")
    command[3] = str(PROJECT / command[3])
    ended = subprocess.run(
        command, cwd="/", env=operator.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert f"ANSIBLE_CONFIG={PROJECT}/ansible.cfg" in ended.stdout


@pytest.mark.parametrize("options", [["--tags", "scale"], ["--skip-tags", "validate"]])
def test_no_host_ends_where_nobody_has_looked_how_many_there_are(
    operator: Operator, tmp_path: Path, options: list[str]
) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text("{aws_ec2: {children: {run_r1: {hosts: {i-1: {}, i-2: {}}}}}}")
    (tmp_path / "group_vars").symlink_to(PROJECT / "inventory/group_vars")
    operator.inventory = str(inventory)
    ended = operator.play("scale", "--check", *options, run="r1", workers=0, ssh_key=str(inventory))
    assert (ended.exit_code, ended.changes) == (2, []), ended.output
    assert "`validate` was left out" in ended.said, ended.output


@pytest.mark.parametrize("play", ["scale", "site"])
def test_no_host_is_made_that_the_inventory_can_not_name(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], play: str
) -> None:
    amazon[1].clear()
    ended = slips(play, "--skip-tags", "validate", **SMALLEST[play])
    assert (ended.exit_code, amazon[1], ended.changes) == (2, [], []), ended.output
    assert "-i inventory/kon.aws_ec2.yml" in ended.said
    assert "Nothing was changed" in ended.said


def cases_of(play: str) -> list[tuple[str, Any]]:
    """Each of its variables, wrong in each way that JSON can say. `site` goes by those of all its parts."""
    parts = ("provision", "configure", "run") if play == "site" else (play,)
    of_it = [(name, value) for each, name, value in CASES if each in parts]
    found = {
        (name, repr(value)): (name, value) for name, value in of_it if json.loads(json.dumps(value)) == value
    }
    return [*found.values(), ("worker", 8)]


def search(slips: Callable[..., Play], asked: list[str], play: str, cases: Sequence[tuple[str, Any]]) -> None:
    asked.clear()
    for name, value in cases:
        said = {**SMALLEST[play], name: value}
        ended = slips(play, **said)
        assert ended.exit_code == 2, (name, value, ended.output)
        assert "Nothing was changed" in ended.said, (name, value, ended.output)
        assert asked == [], (name, value)
        assert ended.changes == [], (name, value)


@pytest.mark.parametrize("play", [*DESTRUCTIVE, "site"])
def test_some_variables_wrong_in_some_way_touch_nothing(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], play: str
) -> None:
    search(slips, amazon[1], play, random.Random(play).sample(cases_of(play), 2))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("play", [*DESTRUCTIVE, "site"])
def test_each_variable_wrong_in_each_way_touches_nothing(
    slips: Callable[..., Play], amazon: tuple[str, list[str]], play: str
) -> None:
    """The whole search: each is a play of its own."""
    search(slips, amazon[1], play, cases_of(play))

"""variables: checks what a playbook goes by, before it does anything.

An empty value is refused where it has no meaning of its own, as it is most often a shell's variable that was
not set. Nothing is cast that is not written as what it should be: `workers=eight` is no number.
"""

from __future__ import annotations

import difflib
import importlib.util
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_float,
    check_type_int,
    check_type_list,
    check_type_path,
)
from ansible.parsing.splitter import parse_kv, split_args
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

PLAYBOOKS = Path(__file__).parents[1]
TABLE = PLAYBOOKS / "vars/variables.yml"

NO_LIMIT = (
    "what these playbooks judge, and which hosts they end, goes by a whole fleet. Hosts that do not answer "
    "are left out by -e min_workers=..."
)

BY_INVENTORY = ("configure", "run", "scale", "fetch", "bake")
"""Playbooks that go to the hosts of a fleet."""

EXPECTED = {
    "str": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of names to texts or numbers",
}


class Unfit(ValueError):
    """What is wrong with a value, for people."""


class ActionModule(ActionBase):  # type: ignore[misc]
    """play: the playbook. Returns `checked`: each variable of it, of its type, or null if not said; but for
    secret ones, which facts would show.

    `said` lists those that were said with -e, or by a playbook that imports ours. Fails with a line for each
    that is wrong.
    """

    supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec({"play": {"type": "str", "required": True}})
        table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
        extra = load_extra_vars(self._loader)
        said = sorted({*extra, *(self._task._parent._play.vars.keys() & table.keys())})
        problems = [*unknown(table, extra), *options_wrong(context.CLIARGS)]
        problems += said_twice(table, self._values_said())
        if not_read := [name for name in table if name != "run" and name not in (task_vars or {})]:
            problems.append(
                f"the defaults of inventory/group_vars/all.yml were not read ({not_read[0]} has none): name "
                f"an inventory of the project, as -i {PLAYBOOKS.parent}/inventory/kon.aws_ec2.yml"
            )
        if "playbook_dir" in str((task_vars or {}).get("project")):  # that of a playbook that imports ours
            task_vars = {**(task_vars or {}), "project": str(PLAYBOOKS.parent)}
            self._templar.available_variables = task_vars
        checked: dict[str, Any] = {}
        is_sure = not problems
        earlier = (task_vars or {}).get("checked") or {}  # of a playbook that imports this one
        for name, spec in table.items():
            if args["play"] not in spec["plays"] or not (is_sure or name == "run"):
                continue
            try:
                value = self._templar.template((task_vars or {}).get(name))
                typed = fit(name, spec, value, args["play"])
                if typed and spec.get("once") and name not in said:
                    raise Unfit(
                        f"{name} is {typed} by a file of the inventory, and goes by what each call says: "
                        f"-e {name}=..."
                    )
                if typed and spec.get("folder"):
                    typed = folder_of(name, typed, self._templar.template((task_vars or {})["project"]))
                if not spec.get("secret"):
                    checked[name] = typed
            except Unfit as error:
                problems.append(str(error))
            except Exception as error:  # Ansible's own, of many classes: a template that can't be filled in
                problems.append(f"{name}: it can't be worked out: {error}")
        inventories = files_of(context.CLIARGS.get("inventory") or ())
        problems += collections_missing(inventories)
        if not problems and checked.get("run") is None and args["play"] == "run":
            problems += without_fleet(table, said)
        elif not problems and args["play"] in BY_INVENTORY:
            problems += self._region_wrong(inventories, checked, task_vars or {})
        if problems:
            result.update(failed=True, msg="\n".join([*problems, "Nothing was changed"]))
            return result
        result.update(checked={**earlier, **checked}, said=said)
        return result

    def _values_said(self) -> list[Mapping[str, Any]]:
        """What each -e says, in a mapping of its own."""
        found: list[Mapping[str, Any]] = []
        for text in map(str, context.CLIARGS.get("extra_vars") or ()):
            if text.startswith("@"):
                found.append(self._loader.load_from_file(text[1:]))
            elif text.startswith(("{", "[")):
                found.append(self._loader.load(text))
            else:
                found += map(parse_kv, split_args(text))
        return found

    def _region_wrong(
        self, inventories: Iterable[Path], checked: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> list[str]:
        """What is wrong with the region, by the inventory's regions and by those of the fleet's hosts. Else a
        fleet would be made that the inventory can't name, or hosts of another fleet told to go."""
        region = checked["region"]
        for each in inventories:
            regions = self._loader.load_from_file(str(each), trusted_as_template=True).get("regions")
            try:
                asked = self._templar.template(regions) or [region]
            except AnsibleError as error:
                return [f"{each}: its regions can't be worked out: {error}"]
            if region not in asked:
                return [
                    f"region is {region}, and {each} names hosts of {', '.join(asked)} alone: call it with "
                    f"AWS_REGION={region}, or say -e region={asked[0]}"
                ]
        hosts = (variables.get("groups") or {}).get(f"run_{checked['run']}") or ()
        strange = {}
        for host in hosts:
            place = (variables["hostvars"][host].get("ec2_placement") or {}).get("region", region)
            if place != region:
                strange[host] = place
        if not strange:
            return []
        return [
            f"region is {region}, and hosts of the fleet {checked['run']} are in "
            f"{', '.join(sorted(set(strange.values())))}: {', '.join(sorted(strange))}. Leave one region in "
            "the inventory's `regions`, and say -e region=..."
        ]


def options_wrong(options: Mapping[str, Any]) -> list[str]:
    """What is wrong with those of Ansible's own options that would have a playbook do less than it says."""
    problems = []
    if options.get("subset"):
        problems.append(f"--limit {options['subset']}: {NO_LIMIT}")
    if options.get("become"):
        problems.append(
            "--become, or ANSIBLE_BECOME: root on this machine has other credentials, and would own your "
            "files. Playbooks become root on hosts by themselves; -K asks for a password"
        )
    parts = [part for each in options.get("args") or () for part in parts_of(Path(each))]
    known = set[str]().union(*parts) - {"always"}
    chosen = {*(options.get("tags") or ())} - {"all"}
    if known & chosen and "all" not in (options.get("tags") or ()) and not all(parts):
        words = " and ".join(f"playbooks/{each}.yml" for each in sorted(known & chosen))
        problems.append(f"--tags {','.join(sorted(chosen))}: a run can't be begun in part; call {words}")
    for option in ("tags", "skip_tags"):
        for name in sorted({*(options.get(option) or ())} - known - {"all"}):
            words = f"its tags are {', '.join(sorted(known))}" if known else "it has no tags"
            problems.append(f"--{option.replace('_', '-')} {name}: no part of the playbook has it; {words}")
    skipped = {*(options.get("skip_tags") or ())}
    if "all" in skipped or (known <= skipped and known and all(parts)):
        problems.append(f"--skip-tags {','.join(sorted(skipped))}: nothing of the playbook is left")
    return problems


def parts_of(playbook: Path) -> list[set[str]]:
    """The tags of each of a playbook's plays, and of those that it imports."""
    found: list[set[str]] = []
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")) or ():
        if imported := play.get("ansible.builtin.import_playbook"):
            found += parts_of(playbook.parent / imported)
        else:
            found.append(set(play.get("tags") or ()))
    return found


def said_twice(table: Mapping[str, Any], said: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong where two -e differ about what is removed: Ansible would go by the last."""
    problems = []
    for name in (each for each, spec in table.items() if spec.get("once")):
        values = list(dict.fromkeys(str(each[name]) for each in said if name in each))
        if len(values) > 1:
            problems.append(f"{name} is said {len(values)} times, as {' and as '.join(values)}: say it once")
    return problems


def without_fleet(table: Mapping[str, Any], said: Iterable[str]) -> list[str]:
    """What is wrong where a fleet's variables are said, and no fleet: the run would not go by them."""
    return [
        f"-e {name}=... is about a fleet, and none is said: -e run=NAME names one, or leave it out; the "
        f"experiment has {table[name]['else']}"
        for name in said
        if name in table and "else" in table[name]
    ]


def files_of(inventories: Iterable[str]) -> list[Path]:
    """Files of the plug-in by which hosts at EC2 are found, those in folders included."""
    found: list[Path] = []
    for each in map(Path, inventories):
        found += sorted(each.glob("*aws_ec2.y*ml")) if each.is_dir() else [each]
    return [each for each in found if each.name.endswith(("aws_ec2.yml", "aws_ec2.yaml"))]


def unknown(table: Mapping[str, Any], said: Iterable[str]) -> list[str]:
    """What is wrong with the names that were said with -e."""
    problems = []
    for name in said:
        if name not in table and not name.startswith("ansible_"):
            near = difflib.get_close_matches(name, table, 1)
            meant = f', did you mean "{near[0]}"?' if near else "; docs/first-fleet.md lists all"
            problems.append(f'-e {name}=...: there is no variable "{name}"{meant}')
    return problems


def fit(name: str, spec: Mapping[str, Any], value: Any, play: str) -> Any:
    """The value, of its type. None where it is not said. Raises Unfit."""
    if value is None:
        if play in spec.get("needed", ()):
            raise Unfit(f"{name} is not said, and {play} needs it: -e {name}=..., {expected(spec)}")
        if not spec.get("unsaid"):  # it takes the place of a default
            raise Unfit(f"{name} is null: expected {expected(spec)}; left out, it has its default")
        return None
    if isinstance(value, str) and not value.strip():
        if spec.get("empty"):
            return ""
        raise Unfit(f"{name} is empty: expected {expected(spec)}. Was a variable of the shell not set?")
    typed = of_type(name, spec, value)
    for each in typed if spec["type"] == "list" else [typed]:
        check_one(name, spec, each)
    for each in typed if "names" in spec else ():
        if not re.fullmatch(spec["names"], each):
            raise Unfit(f"{name} has the name {each!r}: expected letters, digits and _, and no digit first")
    return typed


def of_type(name: str, spec: Mapping[str, Any], value: Any) -> Any:
    kind = spec["type"]
    try:
        if kind in ("int", "float") and isinstance(value, bool):
            raise TypeError
        if kind in ("str", "path"):
            check_text(name, value)
            return check_type_path(value) if kind == "path" else str(value)
        if kind == "list":
            items = [value] if spec.get("whole") and isinstance(value, str) else listed(value)
            for each in items:
                check_text(name, each)
            if not all(each.strip() for each in items):
                raise TypeError
            return [str(each) for each in items]
        if kind == "dict":
            return named(check_type_dict(value))
        return {"int": check_type_int, "float": check_type_float, "bool": check_type_bool}[kind](value)
    except Unfit:
        raise
    except (TypeError, ValueError) as error:
        found = "something else" if spec.get("secret") else repr(value)
        raise Unfit(f"{name} is {found}: expected {expected(spec)}") from error


def folder_of(name: str, value: str, project: str) -> str:
    """The whole name of a folder on this machine. Raises Unfit."""
    folder = Path(project) / value
    if not folder.is_dir():
        raise Unfit(f"{name} is {value}: there is no folder {folder}")
    return str(folder)


def check_text(name: str, value: Any) -> None:
    """Raises Unfit for a number, which may have been written otherwise, and TypeError for what is no text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Unfit(
            f"{name} is the number {value}, and has to be text: YAML reads 010 as 8, and 1.10 as 1.1. Put it "
            f'in quotes, {name}: "{value}", or say -e {name}={value}'
        )
    if not isinstance(value, str):
        raise TypeError


def listed(value: Any) -> list[Any]:
    """-e packages=[ffmpeg,jq] comes as text."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        return [each.strip() for each in value[1:-1].split(",")] if value[1:-1].strip() else []
    return list(check_type_list(value))


def named(values: Mapping[Any, Any]) -> dict[str, str]:
    """YAML makes dates, truths and nothing of some texts, and nobody means what Python calls those."""
    for name, value in values.items():
        if not isinstance(name, str) or not name.strip():
            raise TypeError
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise TypeError
    return {name: str(value) for name, value in values.items()}


def check_one(name: str, spec: Mapping[str, Any], value: Any) -> None:
    wrong = Unfit(f"{name} is {value!r}: expected {expected(spec)}")
    if spec["type"] in ("int", "float"):
        low, above, high = (
            spec.get("least", -math.inf),
            spec.get("above", -math.inf),
            spec.get("most", math.inf),
        )
        if not (math.isfinite(value) and low <= value <= high and value > above):
            raise wrong
    if "pattern" in spec and re.fullmatch(spec["pattern"], value) is None:
        raise wrong
    if "choices" in spec and value not in spec["choices"]:
        raise wrong


def expected(spec: Mapping[str, Any]) -> str:
    if "says" in spec:
        return str(spec["says"])
    if "choices" in spec:
        return " or ".join(map(str, spec["choices"]))
    text = EXPECTED[spec["type"]]
    if "above" in spec:
        text += f" above {spec['above']}"
    if "least" in spec:
        text += f" from {spec['least']}"
    return f"{text} to {spec['most']}" if "most" in spec else text


def collections_missing(inventories: Collection[Path]) -> list[str]:
    """Ansible would only warn that it can't read the inventory, and go on as if there were no hosts."""
    if not inventories:
        return []
    try:
        found = importlib.util.find_spec("ansible_collections.amazon.aws")
    except ModuleNotFoundError:
        found = None
    if found is not None:
        return []
    project = PLAYBOOKS.parent / "ansible.cfg"
    if not constants.CONFIG_FILE or Path(constants.CONFIG_FILE).resolve() != project.resolve():
        return [
            f"{project} was not read, and so the collection amazon.aws is not found: call this in that "
            f"folder, or set ANSIBLE_CONFIG={project}"
        ]
    return ["the collection amazon.aws is not installed, by which hosts at EC2 are found: make collections"]

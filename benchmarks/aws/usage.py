"""What a run used between the first submission and its end, from its own records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kon.backends.prices import cost_of_requests, usual_prices
from kon.engine.records.records import RunFolder

_CALLS = ".calls"

HOUR_S: Final = 3_600.0


def used_by_tasks(folder: RunFolder) -> dict[str, Any]:
    """Requests and CPU time for each task, by who made them. What was used before the client began to
    submit, and before a worker was ready, is left out: it is the same for one task and for a million.

    requests_per_task: of client and workers, to all services. requests: by service and by who made them.
    """
    tasks = folder.read_run().spec.tasks
    lives: dict[str, list[Mapping[str, Any]]] = {}
    for life, line in folder.event_lines():
        if "cpu_s" in line:
            lives.setdefault("client" if line["e"] in ("open", "close") else life, []).append(line)
    spent = {"client": 0.0, "worker": 0.0}
    requests: dict[str, float] = {}
    total = 0
    for life, lines in lives.items():
        first, last = lines[0], lines[-1]
        who = "client" if life == "client" else "worker"
        spent[who] += last["cpu_s"] - first["cpu_s"]
        total += last["requests"] - first["requests"]
        before, after = first.get("billed", {}), last.get("billed", {})
        for name in after:
            if name.endswith(_CALLS):
                made = after[name] - before.get(name, 0.0)
                key = f"{who}.{name.removesuffix(_CALLS)}"
                requests[key] = requests.get(key, 0.0) + made
    return {
        "requests_per_task": total / tasks,
        "requests": requests,
        "worker_cpu_ms_per_task": spent["worker"] / tasks * 1e3,
        "client_cpu_ms_per_task": spent["client"] / tasks * 1e3,
    }


def used_by_the_idle(folder: RunFolder) -> dict[str, Any]:
    """What a worker asks for in an hour in which there is nothing to do: of those that never had a task,
    the mean, from each one's start to its last word.

    dollars: what that hour costs.
    """
    lives: dict[str, list[Mapping[str, Any]]] = {}
    busy = set()
    for life, line in folder.event_lines():
        if line["e"] == "deliver":
            busy.add(life)
        elif "cpu_s" in line and line["e"] not in ("open", "close"):
            lives.setdefault(life, []).append(line)
    idle = [lines for life, lines in lives.items() if life not in busy]
    hours = sum(lines[-1]["t"] - lines[0]["t"] for lines in idle) / HOUR_S
    billed: dict[str, float] = {}
    for lines in idle:
        for name, amount in lines[-1].get("billed", {}).items():
            more = amount - lines[0].get("billed", {}).get(name, 0.0)
            billed[name] = billed.get(name, 0.0) + more / hours
    cpu_s = sum(lines[-1]["cpu_s"] - lines[0]["cpu_s"] for lines in idle)
    return {
        "idle_requests": {
            name.removesuffix(_CALLS): amount for name, amount in billed.items() if name.endswith(_CALLS)
        },
        "idle_dollars": sum(cost_of_requests(billed, usual_prices(), None).values()),
        "idle_cpu_s": cpu_s / hours,
        "idle_workers": len(idle),
        "idle_s": hours * HOUR_S,
    }

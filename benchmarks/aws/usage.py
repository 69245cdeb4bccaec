"""What a run used between the first submission and its end, from its own records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kon.records import RunFolder

_CALLS = ".calls"


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

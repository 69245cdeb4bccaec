"""All commands: their sections, their lines in the list, and where each is found."""

from __future__ import annotations

from typing import Final, NamedTuple


class Lazy(NamedTuple):
    """Where a command is found, and its line in the list: `kon --help` imports none of them."""

    target: str
    help: str


SECTIONS: Final[dict[str, dict[str, Lazy]]] = {
    "Run": {
        "run": Lazy("kon.cli.run:run", "Run an experiment, or take it up where it stood."),
        "map": Lazy("kon.cli.map:map_", "Run a command for each of many arguments."),
        "init": Lazy("kon.cli.init:init", "Write a first experiment to start from."),
        "validate": Lazy("kon.cli.validate:validate", "Check experiment files without running them."),
        "generate": Lazy("kon.cli.generate:generate", "Write a workload file."),
        "plan": Lazy("kon.cli.plan:plan", "Forecast time and cost of an experiment on a fleet."),
        "calibrate": Lazy("kon.cli.calibrate:calibrate", "Make a model from runs that were measured."),
    },
    "Look": {
        "status": Lazy("kon.cli.status:status", "Show how far runs are."),
        "top": Lazy("kon.cli.top:top", "Follow a run on the terminal as it goes on."),
        "serve": Lazy("kon.cli.serve:serve", "Show runs on a page in the browser."),
        "table": Lazy("kon.cli.table:table", "Draw the result tables of recorded runs again."),
        "results": Lazy("kon.cli.results:results", "Print what became of each task of a run."),
        "runs": Lazy("kon.cli.removal:runs", "List recorded runs, with their sizes and ages."),
        "report": Lazy("kon.cli.report:report", "Write a page of HTML about runs."),
        "plot": Lazy("kon.cli.report:plot", "Draw plots of runs into files."),
        "compare": Lazy("kon.cli.compare:compare", "Say what differs between runs, and whether it matters."),
        "trace": Lazy("kon.cli.trace:trace", "Send tasks to OpenTelemetry, each as a trace."),
        "dead": Lazy("kon.cli.dead:dead", "Dead tasks and unreadable messages: list, show, requeue, drop."),
        "explain": Lazy("kon.cli.explain:explain", "Tell the story of a task, or list what came twice."),
    },
    "Run step by step": {
        "submit": Lazy("kon.cli.submit:submit", "Queue the tasks of an experiment, and return."),
        "worker": Lazy("kon.cli.worker:worker", "Work on a run, in the foreground."),
        "collect": Lazy("kon.cli.collect:collect", "Collect the results of a run that was begun earlier."),
        "cancel": Lazy("kon.cli.cancel:cancel", "Give up what a run has not done yet."),
        "gather": Lazy("kon.cli.gather:gather", "Put hosts' parts of the records together."),
        "join": Lazy("kon.cli.join:join", "Work on runs of a client here or on another machine."),
    },
    "Tidy up": {
        "rm": Lazy("kon.cli.removal:rm", "Remove finished runs."),
        "clean": Lazy("kon.cli.removal:clean", "Remove finished runs that are old."),
    },
    "Amazon": {
        "up": Lazy("kon.cli.provision:up", "Make a run's queues, table and bucket ahead."),
        "down": Lazy("kon.cli.provision:down", "Delete a run's queues, table and objects."),
        "restore": Lazy("kon.cli.restore:restore", "Get results back from cold storage."),
        "cost": Lazy("kon.cli.cost:cost", "Say what a run's requests cost."),
        "sweep": Lazy("kon.cli.sweep:sweep", "Find what is left in any region, and remove it."),
        "autoscale": Lazy("kon.cli.autoscale:autoscale", "Keep as many hosts as the queues ask for."),
        "equip": Lazy("kon.cli.autoscale:equip", "Provide for hosts that come later."),
        "emulator": Lazy(
            "kon.cli.emulator:emulator", "Run SQS, DynamoDB and S3 on this machine, for trials."
        ),
    },
    "Check kon itself": {
        "prove": Lazy("kon.cli.prove:prove", "Search for faults that break what strategies promise."),
    },
    "Help": {
        "schema": Lazy("kon.cli.validate:schema", "Print the JSON Schema of experiment files, for editors."),
        "config": Lazy("kon.cli.config:config", "Show defaults of your own, and where they are from."),
        "completion": Lazy("kon.cli.manual:completion", "Print what makes a shell complete commands."),
        "man": Lazy("kon.cli.manual:man", "Print a manual page, for man."),
        "doctor": Lazy("kon.cli.doctor:doctor", "Check this machine, and say how to mend what is wrong."),
    },
}

COMMANDS: Final = {name: lazy for section in SECTIONS.values() for name, lazy in section.items()}

"""The form of an experiment file: its keys, their types, bounds and defaults.

The same models check a file and make the JSON Schema that editors use. What needs more than one
value at a time, a plug-in or a file is checked in kon/experiment/check.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from kon.core.plugins import names
from kon.core.spec import Plugin
from kon.core.task import MAX_ATTEMPTS, MAX_TASKS
from kon.engine.layout import MAX_ROWS

MAX_NAME: Final = 40
"""Characters of an experiment's name, so that a run's id still fits into the name of an SQS queue."""

SHORTEST_HOLD_S: Final = 0.3
"""The shortest visibility timeout and lease: both are renewed every third of it, and no faster than
every 0.1 s."""

KIND_OF_FILES: Final = "sleep"
"""The kind of a workload file that says none, as the older systems wrote them."""

Auto = Literal["auto"]
"""A setting that kon finds by itself."""

_Value = TypeVar("_Value")


class Expected(NamedTuple):
    """What an error says after "expected", for a field."""

    phrase: str


class _Form(BaseModel):
    # strict: a number in quotes and a `true` for 1 are likelier mistakes than wishes
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class PluginChoice(_Form):
    """A plug-in by name, with its options next to the name."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1), Expected("a name, or module:Class")]
    """A registered name, or `module:Class`."""

    @property
    def plugin(self) -> Plugin:
        return Plugin(self.name, dict(self.__pydantic_extra__ or {}))


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


def _given(value: _Value | None) -> _Value:
    # `items:` with nothing after it is likelier a slip than a way to leave the key out
    if value is None:
        raise ValueError("nothing")
    return value


_NotNull: Final = AfterValidator(_given)

Named = Annotated[PluginChoice, BeforeValidator(_named, json_schema_input_type=str | PluginChoice)]
Workers = Annotated[int, Field(ge=1, le=100_000), Expected("a whole number from 1 to 100000")]


class FaultsForm(_Form):
    """Faults that are put into a real run."""

    duplicate_rate: Annotated[float, Field(ge=0, le=1), Expected("a share from 0 to 1")] = 0.0
    """The share of messages that are sent, and so delivered, twice."""

    kill_workers: Annotated[int, Field(ge=0, le=1_000), Expected("a whole number from 0 to 1000")] = 0
    """How many workers end by SIGKILL during the run; each is replaced."""


class WorkloadForm(_Form):
    """What is to be done: a kind, one source of tasks, and the kind's own options."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[
        str | None,
        Field(
            min_length=1,
            json_schema_extra={"examples": names("kon.kinds")},
        ),
        _NotNull,
        Expected("a kind's name, or module:Class"),
    ] = None
    """What a task does: a kind by its name, or `module:Class`. A file without it holds sleeps."""

    count: Annotated[
        int | None, Field(ge=1, le=MAX_TASKS), _NotNull, Expected("a whole number of 1 or more")
    ] = None
    """Source: that number of tasks, made up by kon; each body is its number, or what the kind makes of it."""

    items: Annotated[
        list[Any] | None, Field(min_length=1), _NotNull, Expected("a list with one item for each task")
    ] = None
    """Source: one task for each item."""

    file: Annotated[str | None, Field(min_length=1), _NotNull, Expected("the path of a file")] = None
    """Source: one task for each line of a file; relative to the folder of this file."""

    glob: Annotated[
        list[Annotated[str, Field(min_length=1), Expected("a pattern such as src/**/*.py")]] | None,
        BeforeValidator(_listed, json_schema_input_type=list[str] | str),
        _NotNull,  # before the length is asked for, which null has not
        Field(min_length=1),
        Expected("a pattern such as src/**/*.py, or a list of patterns"),
    ] = None
    """Source: one task for each file that matches, in sorted order; relative to the folder of this file."""

    range: Annotated[
        list[Annotated[int, Field(ge=-(2**53), le=2**53), Expected("a whole number")]] | None,
        Field(min_length=2, max_length=3, examples=[[0, 100]]),
        _NotNull,
        Expected("[start, stop] or [start, stop, step], whole numbers"),
    ] = None
    """Source: the numbers from start up to, but not including, stop, as in Python."""

    per: Annotated[Literal["run", "worker"], Expected('"run" or "worker"')] = "run"
    """`worker`: as many tasks for each worker, so that the work grows with the number of workers."""

    @property
    def options(self) -> dict[str, Any]:
        """What is not a key of `workload` itself: options of the kind, and of how its bodies are made up."""
        return dict(self.__pydantic_extra__ or {})


class ExperimentForm(_Form):
    """One experiment: each strategy with each number of workers, as often as `repeats` says."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=MAX_NAME),
        Expected(f"a name of at most {MAX_NAME} letters, digits, - and _, with a letter or digit first"),
    ]
    """Names the experiment's runs, files and queues."""

    backend: Annotated[Named, Expected("the name of a backend, or a mapping with its name and options")] = (
        PluginChoice(name="sqlite")
    )
    """Where queues, ledger and objects live."""

    workload: Annotated[WorkloadForm, Expected("a mapping such as {kind: sleep, count: 100, seconds: 0.01}")]
    """What is to be done."""

    strategies: Annotated[
        list[Annotated[Named, Expected("the name of a strategy, or a mapping with its name and options")]],
        BeforeValidator(_listed, json_schema_input_type=list[str | PluginChoice] | str | PluginChoice),
        Field(min_length=1),
        Expected("a list of strategies such as [none, lease]"),
    ] = [PluginChoice(name="lease")]
    """How repeated deliveries are kept from repeating work, each compared with the others."""

    workers: Annotated[
        list[Workers],
        BeforeValidator(_listed, json_schema_input_type=list[Workers] | Workers),
        Field(min_length=1),
        Expected("a whole number from 1 to 100000, or a list such as [1, 2, 4]"),
    ] = [1]
    """Numbers of workers to compare: a process each on one machine, a host each on EC2."""

    processes: Annotated[int, Field(ge=1, le=1_000), Expected("a whole number from 1 to 1000")] = 1
    """Worker processes of each worker."""

    slots: Annotated[int, Field(ge=1, le=10_000), Expected("a whole number from 1 to 10000")] = 1
    """Tasks at once in a worker process."""

    prefetch: Annotated[
        Auto | Annotated[int, Field(ge=0, le=100000)] | None,
        Field(json_schema_extra={"x-null": True}),
        Expected("auto, or a whole number from 0 to 100000"),
    ] = "auto"
    """Messages that a worker holds ahead of its slots, at most; `auto`: a fifth of a second of work."""

    bundle: Annotated[
        Auto | Annotated[int, Field(ge=1, le=100_000)], Expected("auto, or a whole number from 1 to 100000")
    ] = "auto"
    """Tasks in a message; `auto`: from 1 to 100, by how long tasks take and how many are left."""

    tasks_per_row: Annotated[
        Auto | Annotated[int, Field(ge=1, le=MAX_ROWS)] | None,
        Field(json_schema_extra={"x-null": True}),
        Expected(f"auto, or a whole number from 1 to {MAX_ROWS}"),
    ] = "auto"
    """Neighbouring tasks whose claims and results share a row of the ledger; `auto`: those of a message where
    the backend takes money or time for each row (aws, sim), else 1."""

    repeats: Annotated[int, Field(ge=1, le=1_000), Expected("a whole number from 1 to 1000")] = 1
    """How often each cell is run."""

    visibility_s: Annotated[
        float,
        Field(ge=SHORTEST_HOLD_S, le=43_200),
        Expected(
            f"a number of seconds from {SHORTEST_HOLD_S} to 43200 (a visibility shorter than the heartbeat "
            "allows, which extends it every third of it, would let go of running tasks)"
        ),
    ] = 30.0
    """How long a received message stays hidden from other workers, in seconds; extended while it is held."""

    attempts: Annotated[
        int, Field(ge=1, le=MAX_ATTEMPTS), Expected(f"a whole number from 1 to {MAX_ATTEMPTS}")
    ] = 3
    """Failed attempts before a task counts as failed."""

    max_receives: Annotated[int, Field(ge=1, le=1_000), Expected("a whole number from 1 to 1000")] = 5
    """Deliveries of one message before it goes to the dead-letter queue."""

    timeout_s: Annotated[
        float | None,
        Field(gt=0, le=604_800, json_schema_extra={"x-null": True}),
        Expected("a number of seconds above 0, up to 604800 (a week)"),
    ] = None
    """The longest an attempt may take, in seconds; left out, there is no limit."""

    backoff_s: Annotated[float, Field(ge=0, le=43_200), Expected("a number of seconds from 0 to 43200")] = 0.5
    """The pause before the second attempt, in seconds; doubled for each later one, with jitter."""

    flush_s: Annotated[float, Field(ge=0, le=60), Expected("a number of seconds from 0 to 60")] = 0.05
    """How long a worker may gather outcomes before it commits and answers them, in seconds."""

    idle_s: Annotated[
        float | None,
        Field(ge=0, le=604_800, json_schema_extra={"x-null": True}),
        Expected("a number of seconds from 0 to 604800"),
    ] = None
    """A worker ends when its queue has been empty that long, in seconds; left out, it stays until told."""

    drain_s: Annotated[float, Field(ge=0, le=604_800), Expected("a number of seconds from 0 to 604800")] = (
        10.0
    )
    """How long a worker that was told to stop lets running tasks go on, in seconds."""

    faults: Annotated[FaultsForm, Expected("a mapping such as {duplicate_rate: 0.05, kill_workers: 1}")] = (
        FaultsForm()
    )
    """Faults that are put into the run."""

    seed: Annotated[int, Field(ge=0, le=2**53), Expected("a whole number from 0 to 2**53")] = 0
    """Where randomness starts: the same seed makes the same tasks and the same faults."""

"""kon in memory beside the thread-and-queue loop that the older systems' local workers were."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.experiment import Experiment, Point, Record, Section, by_round, rounds
from benchmarks.published import A_LOCAL, B_LOCAL
from benchmarks.throughput import NO_KNOB, best_of, by_hand, over, rates, runs, size


class InMemory(Experiment):
    name = "memory"

    def points(self, quick: bool) -> list[Point]:
        tasks, loop_tasks = (100_000, 20_000) if quick else (1_000_000, 100_000)
        kon = runs("kon", tasks, {"backend": "memory"})
        loops = [
            Point(
                f"{queue_class}, {threads} thread{'s' if threads > 1 else ''}",
                "benchmarks.peers.thread_loop:measure",
                {"tasks": loop_tasks, "threads": threads, "queue_class": queue_class},
            )
            for queue_class, counts in (("Queue", (1, 2, 4, 8, 16)), ("SimpleQueue", (8, 16)))
            for threads in counts
        ]
        return rounds(1 if quick else 3, kon + loops)

    def draw(self, records: Sequence[Record]) -> Section:
        per_s = by_round(records, "tasks_per_s")
        loop, simple = best_of(per_s, "Queue"), best_of(per_s, "SimpleQueue")
        a, b = A_LOCAL.tasks_per_s.values(), B_LOCAL.tasks_per_s.values()
        return Section(
            title=f"In memory: {size(records, 'kon'):,} tasks of no length",
            findings=[
                f"""{over(per_s, f"kon, {NO_KNOB}", loop).ratio()} the thread-and-queue loop at its best
                thread count (wanted: at least 5x).""",
                f"""{over(per_s, f"kon, {NO_KNOB}", simple).ratio()} the same loop with `queue.SimpleQueue`,
                whose queues are written in C.""",
                by_hand(per_s, "kon"),
            ],
            tables=[rates(records, per_s, loop, "of the loop")],
            notes=[
                """kon: conditional_put, one worker in the client's process, with its journals in files.
                bundle: tasks in a message; bundle 1 with prefetch 10 gets a tenth of the tasks.""",
                f"""The loop is that of the older systems' local workers, with {size(records, "Queue"):,}
                tasks. Their own figures, for 1 to 16 threads on a t2.micro: {min(a):,.0f} to {max(a):,.0f}
                and {min(b):,.0f} to {max(b):,.0f} tasks/s.""",
            ],
        )

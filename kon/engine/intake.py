"""Intake: messages are unpacked, and the strategy says which of their tasks may run."""

from __future__ import annotations

from collections.abc import Sequence

from kon.core.backend import Channel
from kon.core.errors import CodecError
from kon.core.queue import Delivery, Message
from kon.core.spec import RunSpec
from kon.core.strategy import Claim, Defer, Skip, Strategy, Verdict
from kon.core.task import Bundle, Task, decode_bundle
from kon.engine.holding import Held, Holding, Job
from kon.engine.packing import batches, without_repeats
from kon.engine.records.events import Event, Named, Recorder
from kon.engine.settler import Settler


class Intake:
    """Turns deliveries into jobs that may run, and settles at once those that may not."""

    def __init__(
        self,
        spec: RunSpec,
        channel: Channel,
        strategy: Strategy,
        holding: Holding,
        settler: Settler,
        recorder: Recorder,
    ) -> None:
        self._spec = spec
        self._channel = channel
        self._strategy = strategy
        self._holding = holding
        self._settler = settler
        self._recorder = recorder

    async def unpack(self, deliveries: Sequence[Delivery]) -> list[tuple[Held, Task]]:
        """The tasks in these deliveries, each with its delivery. None of them is claimed."""
        unpacked: list[tuple[Held, Task]] = []
        hold = self._holding.deliveries.setdefault
        for delivery in deliveries:
            try:
                bundle = decode_bundle(delivery.body)
            except CodecError as error:
                # left to its receive count: the dead-letter queue keeps it for a person to read
                self._recorder.note(Event.TROUBLE, error=str(error))
                continue
            receives = bundle.receives + delivery.receives
            if receives > 1:
                self._recorder.tasks(Event.DELIVER, bundle.tasks, n=receives)
                if receives > self._spec.max_receives:
                    await self._bury(delivery, bundle)
                    continue
                if delivery.receives > 1 and len(bundle.tasks) > 1:
                    await self._split(delivery, bundle, receives)
                    continue
            held = Held(delivery, bundle, receives)
            hold(held)
            unpacked += [(held, task) for task in bundle.tasks]
        return unpacked

    async def claim(self, unpacked: Sequence[tuple[Held, Task]]) -> list[Job]:
        """The jobs among these tasks that this worker may start. The others are settled at once."""
        if not unpacked:
            return []
        holders, tasks = [held for held, _ in unpacked], [task for _, task in unpacked]
        named = Named(tasks)
        if any(held.receives > 1 for held in set(holders)):
            first_time = [task for task, held in zip(tasks, holders, strict=True) if held.receives == 1]
            self._recorder.tasks(Event.DELIVER, first_time)
        else:
            self._recorder.tasks(Event.DELIVER, named)
        if not named.repeated:
            return await self._admit(holders, tasks, named)
        jobs: list[Job] = []
        for batch in without_repeats(list(range(len(tasks))), lambda at: tasks[at].index):
            part = [tasks[at] for at in batch]
            jobs += await self._admit([holders[at] for at in batch], part, Named(part))
        return jobs

    async def _admit(self, holders: Sequence[Held], tasks: Sequence[Task], named: Named) -> list[Job]:
        verdicts = await self._strategy.admit(tasks)
        jobs = [
            Job(held, verdict, verdict.task)
            for held, verdict in zip(holders, verdicts, strict=True)
            if type(verdict) is Claim
        ]
        for job in jobs:
            job.held.jobs.append(job)
        for token in dict.fromkeys([job.claim.token for job in jobs]):  # one, but where some were taken over
            under = [job for job in jobs if job.claim.token == token]
            may_run = named if len(under) == len(tasks) else Named([job.task for job in under])
            self._recorder.tasks(Event.CLAIM, may_run, token=token)
        if len(jobs) < len(tasks):
            self._turn_away(holders, tasks, verdicts)
        return jobs

    def _turn_away(self, holders: Sequence[Held], tasks: Sequence[Task], verdicts: Sequence[Verdict]) -> None:
        """Answer again what was done; what another holds is looked at again later.

        A deferred task is sent again with a delay, and its message acked: a message that was merely
        put off would count the receipt, and end as dead while its task runs well elsewhere. No strategy
        that defers is let on a queue that can't delay (`check_queue`).
        """
        jobs: list[Job] = []
        skipped: list[Task] = []
        deferred: list[Task] = []
        for held, task, verdict in zip(holders, tasks, verdicts, strict=True):
            if isinstance(verdict, Skip):
                job = Job(held, Claim(task), task, runs=False)
                job.outcome = verdict.outcome
                skipped.append(task)
            elif isinstance(verdict, Defer):
                job = Job(held, Claim(task), task, runs=False)
                job.follow_up = self._settler.message(
                    [task], held.bundle, receives=held.receives - 1, delay_s=verdict.delay_s
                )
                deferred.append(task)
            else:
                continue
            held.jobs.append(job)
            jobs.append(job)
        self._recorder.tasks(Event.SKIP, skipped)
        self._recorder.tasks(Event.DEFER, deferred)
        self._settler.add(jobs, at_once=False)

    async def _split(self, delivery: Delivery, bundle: Bundle, receives: int) -> None:
        """A bundle whose worker died goes on as single messages: what is done in it is skipped, and a
        task that kills its worker takes no other to the dead-letter queue with it."""
        message = self._settler.message
        await self._replace(
            delivery, [message([task], bundle, receives=receives - 1) for task in bundle.tasks]
        )

    async def _bury(self, delivery: Delivery, bundle: Bundle) -> None:
        """What the queue can't know: the messages that this one replaced were received as well."""
        message = Message(delivery.body)
        await self._channel.dead.send([message])
        await self._channel.tasks.ack([delivery])
        self._recorder.tasks(Event.DEAD, bundle.tasks)

    async def _replace(self, delivery: Delivery, messages: Sequence[Message]) -> None:
        queue = self._channel.tasks
        for batch in batches(messages, queue.limits):
            await queue.send(batch)
        await queue.ack([delivery])

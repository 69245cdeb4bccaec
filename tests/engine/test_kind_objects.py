"""What a kind is given beside its tasks: the run's object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from tests.engine.world import Scripted, World, in_virtual_time


class Keeper(Scripted):
    """Stores its body under a key and answers with the link to it."""

    objects: ObjectStore | None = None

    def __init__(self, file: Path) -> None:
        super().__init__({})
        self.file = file

    async def open(self, objects: ObjectStore) -> None:
        assert not self.attempts
        self.objects = objects

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        assert self.objects is not None
        self.file.write_text(body)
        await self.objects.put(f"kept/{attempt.index}", self.file)
        return await self.objects.url(f"kept/{attempt.index}", 60.0)


def test_a_kind_has_the_runs_object_store_from_its_first_attempt_on(tmp_path: Path) -> None:
    async def main() -> None:
        world = await World.create(1)
        await world.run(["a text"], world.worker(kind=Keeper(tmp_path / "out")))
        assert world.recorded()[0].result == await world.channel.objects.url("kept/0", 60.0)
        await world.channel.objects.get("kept/0", tmp_path / "back")
        assert (tmp_path / "back").read_text() == "a text"

    in_virtual_time(main())

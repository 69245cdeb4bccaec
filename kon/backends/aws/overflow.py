"""Where bodies go that are too large for a message: into the run's bucket, while a pointer travels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused


class Overflow:
    """Large bodies as objects of one bucket.

    prefix: what the keys begin with. new_name: makes a name that no other call has. It is not made from
    the body: of two messages with one body, the ack of the first would delete what the second points at.
    """

    def __init__(self, calls: Calls, bucket: str, prefix: str, new_name: Callable[[], str]) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix
        self._new_name = new_name

    async def put(self, text: str) -> str:
        """Keep the text; its key."""
        key = self._prefix + self._new_name()
        await self._calls.call("s3", "PutObject", Bucket=self._bucket, Key=key, Body=text.encode())
        return key

    async def get(self, key: str) -> str | None:
        """The text; None where it was deleted already."""

        def read(client: object) -> str:
            reply = client.get_object(Bucket=self._bucket, Key=key)  # type: ignore[attr-defined]
            content: bytes = reply["Body"].read()
            return content.decode()

        try:
            return await self._calls.run("s3", read, self._bucket)
        except CallRefused as error:
            if error.code == "NoSuchKey":
                return None
            raise

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the bodies of messages that are gone."""
        await asyncio.gather(
            *[self._calls.call("s3", "DeleteObject", Bucket=self._bucket, Key=key) for key in keys]
        )

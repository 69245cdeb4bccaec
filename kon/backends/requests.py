"""How many requests a backend made to its queues and ledgers, and what of them is billed."""

from __future__ import annotations


class RequestCount:
    """One for each backend object; everything that the backend opens counts here.

    billed: by what a provider bills: `sqs.requests` and `sqs.fifo_requests` (each 64 KiB of payload is
        one), `dynamodb.write_units`, `dynamodb.read_units`, `s3.put_requests`, `s3.get_requests`,
        `bytes_out` and `bytes_in`. Beside these `sqs.calls`, `dynamodb.calls` and `s3.calls`: what was sent
        to a service, billed or not. Empty where nothing is billed.
    operations: requests by service and operation, where there are such.
    """

    __slots__ = ("billed", "made", "operations")

    def __init__(self) -> None:
        self.made = 0
        self.billed: dict[str, float] = {}
        self.operations: dict[tuple[str, str], int] = {}

    def bill(self, what: str, amount: float) -> None:
        """Not for several threads at once: whoever has threads locks."""
        self.billed[what] = self.billed.get(what, 0.0) + amount

"""What the hot calls to SQS and DynamoDB cost their client, by boto3 and by kon's lean client.

    python -m benchmarks.aws_calls            # calls, and whole runs
    python -m benchmarks.aws_calls --no-runs

Calls go first to a server that always answers the same, by HTTP and by TLS, so that the client alone is
measured, then to MiniStack; in full batches, one at a time and eight. The clients take turns in each round.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
from tabulate import tabulate

from benchmarks.fresh import call as measured
from kon.backends.aws.calls import Calls, Client
from kon.backends.aws.dynamodb import RowLayout, table_definition
from kon.backends.emulator import started
from kon.core.ledger import Record

CLIENTS: Final[tuple[Client, ...]] = ("boto3", "lean")
BODY: Final = '{"run":"bench","tasks":[[123456,0.0]],"receives":0}'
LAYOUT: Final = RowLayout("bench", "ledger", spread=True)
DAY_S: Final = 1_800_000_000


# --- the calls ------------------------------------------------------------------------------------------


class Target:
    """A queue, and a table with rows that nobody has written yet, for so many calls in flight."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._keys = 0
        self._held: list[list[dict[str, Any]]] = []

    async def send(self, calls: Calls, count: int = 10) -> Any:
        entries = [{"Id": str(n), "MessageBody": BODY} for n in range(count)]
        return await calls.call("sqs", "SendMessageBatch", QueueUrl=self._queue, Entries=entries)

    async def receive(self, calls: Calls) -> Any:
        reply = await calls.call(
            "sqs",
            "ReceiveMessage",
            QueueUrl=self._queue,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        self._held.append(reply.get("Messages", []))
        return reply

    async def extend(self, calls: Calls) -> Any:
        some = self._held[len(self._held) // 2]
        entries = [{**each, "VisibilityTimeout": 30} for each in self._entries(some)]
        return await calls.call("sqs", "ChangeMessageVisibilityBatch", QueueUrl=self._queue, Entries=entries)

    async def delete(self, calls: Calls) -> Any:
        entries = self._entries(self._held.pop())
        return await calls.call("sqs", "DeleteMessageBatch", QueueUrl=self._queue, Entries=entries)

    async def claim(self, calls: Calls, count: int = 25) -> Any:
        first, self._keys = self._keys, self._keys + count
        records = [
            Record(key, f"w1-a1b2c3d4-{key}", owner="w1", expires_s=3e9)
            for key in range(first, first + count)
        ]
        statements = [LAYOUT.insert(record, DAY_S) for record in records]
        return await calls.call(
            "dynamodb", "BatchExecuteStatement", Statements=statements, ReturnConsumedCapacity="TOTAL"
        )

    def _entries(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]


STEPS: Final = ("send", "receive", "extend", "delete", "claim")


async def cost(client: Client, queue: str, at_once: int, rounds: int) -> dict[str, float]:
    """CPU ms of each of the calls, and of what asyncio has to do around it."""
    calls, target = Calls(client=client), Target(queue)
    spent: dict[str, list[float]] = {step: [] for step in STEPS}
    each = 10  # calls of a kind in a row: SQS's queue stays short
    for number in range(rounds + 1):
        for step in STEPS:
            make = getattr(target, step)

            async def several(make: Any = make) -> None:
                for _ in range(each):
                    await make(calls)

            before_s = time.process_time()
            await asyncio.gather(*[several() for _ in range(at_once)])
            if number:  # the first of all makes connections
                spent[step].append((time.process_time() - before_s) / each / at_once * 1e3)
    await calls.close()
    return {step: median(values) for step, values in spent.items()}


def cost_here(client: Client, queue: str, at_once: int, rounds: int) -> dict[str, float]:
    """In an interpreter of its own."""
    return asyncio.run(cost(client, queue, at_once, rounds))


# --- a server that always answers the same --------------------------------------------------------------

SERVER: Final = """
import asyncio, json, ssl, sys

HANDLES = [{"ReceiptHandle": "h" * 180, "MessageId": "m" * 36, "MD5OfBody": "0" * 32, "Body": sys.argv[1],
            "Attributes": {"ApproximateReceiveCount": "1"}} for _ in range(10)]
DONE = [{"Id": str(n), "MessageId": "m" * 36, "MD5OfMessageBody": "0" * 32} for n in range(10)]
BODIES = {
    b"AmazonSQS.SendMessageBatch": {"Successful": DONE},
    b"AmazonSQS.ReceiveMessage": {"Messages": HANDLES},
    b"AmazonSQS.ChangeMessageVisibilityBatch": {"Successful": [{"Id": str(n)} for n in range(10)]},
    b"AmazonSQS.DeleteMessageBatch": {"Successful": [{"Id": str(n)} for n in range(10)]},
    b"DynamoDB_20120810.BatchExecuteStatement": {
        "Responses": [{"TableName": "bench"}] * 25,
        "ConsumedCapacity": [{"TableName": "bench", "CapacityUnits": 25.0}],
    },
}
HEAD = "HTTP/1.1 200 OK\\r\\nx-amzn-RequestId: 7a62c49f\\r\\n"
HEAD += "Content-Type: application/x-amz-json-1.0\\r\\nContent-Length: "
REPLIES = {}
for target, body in BODIES.items():
    text = json.dumps(body)
    REPLIES[target.lower()] = f"{HEAD}{len(text)}\\r\\n\\r\\n{text}".encode()

class Peer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        end = self.data.find(b"\\r\\n\\r\\n")
        if end < 0:
            return
        head = dict(line.split(b": ", 1) for line in self.data[:end].lower().split(b"\\r\\n")[1:])
        if len(self.data) == end + 4 + int(head[b"content-length"]):
            self.data = b""
            self.transport.write(REPLIES[head[b"x-amz-target"]])

async def main():
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2], sys.argv[3])
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
"""Not a module: it should not take longer to start than it must."""


@contextmanager
def canned(certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Its URL, of this machine."""
    arguments = [BODY, *map(str, certificate or ())]
    process = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """For `localhost`, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    files[0].write_bytes(made.public_bytes(pem))
    plain = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files[1].write_bytes(key.private_bytes(*plain))
    return files


@contextmanager
def settings(**values: str) -> Iterator[None]:
    """This process's environment, with these beside or in place of what is there."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1,localhost",
}


# --- tables ---------------------------------------------------------------------------------------------


def compare(where: str, make_queue: Callable[[], str], rounds: int, turns: int) -> list[list[Any]]:
    """Rows: of each number in flight, each client's costs and how they compare."""
    rows = []
    for at_once in (1, 8):
        found: dict[Client, list[dict[str, float]]] = {client: [] for client in CLIENTS}
        for _ in range(turns):
            for client in CLIENTS:
                options = {"client": client, "queue": make_queue(), "at_once": at_once, "rounds": rounds}
                found[client].append(measured("benchmarks.aws_calls:cost_here", options))
        mine = {
            client: [median(each[step] for each in measurements) for step in STEPS]
            for client, measurements in found.items()
        }
        for client in CLIENTS:
            rows.append([where, at_once, client, *(f"{ms:.3f}" for ms in mine[client])])
        ratios = [f"{old / new:.1f} x" for old, new in zip(mine["boto3"], mine["lean"], strict=True)]
        rows.append([where, at_once, "boto3 / lean", *ratios])
    return rows


def runs(tasks: int, bundled: int, turns: int) -> list[list[Any]]:
    """Whole runs on MiniStack, one worker, `lease`."""
    rows = []
    for bundle, count, prefetch in ((1, tasks, 300), (100, bundled, 10)):
        found: dict[Client, list[dict[str, Any]]] = {client: [] for client in CLIENTS}
        for _ in range(turns):
            for client in CLIENTS:
                options = {
                    "tasks": count,
                    "warm_up": 150,
                    "strategy": "lease",
                    "bundle": bundle,
                    "prefetch": prefetch,
                    "options": {"client": client},
                }
                found[client].append(measured("benchmarks.aws.measure:kon", options))
        names = ("tasks_per_s", "worker_cpu_ms_per_task", "client_cpu_ms_per_task", "requests_per_task")
        mine = {
            client: [median(each[name] for each in measurements) for name in names]
            for client, measurements in found.items()
        }
        for client in CLIENTS:
            per_s, worker_ms, client_ms, requests = mine[client]
            rows.append(
                [bundle, client, f"{per_s:,.0f}", f"{worker_ms:.3f}", f"{client_ms:.3f}", f"{requests:.3f}"]
            )
    return rows


@click.command()
@click.option("--rounds", default=10, show_default=True, help="Of each call, ten or eighty times each.")
@click.option("--turns", default=3, show_default=True, help="Of each client, one after the other.")
@click.option("--runs/--no-runs", "with_runs", default=True, help="Measure whole runs, too.")
def main(rounds: int, turns: int, with_runs: bool) -> None:
    """Print what calls and runs cost with either client."""
    rows: list[list[Any]] = []
    queue = "http://127.0.0.1/000000000000/bench"
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        with canned() as url, settings(AWS_ENDPOINT_URL=url, **KEYS):
            rows += compare("a canned answer", lambda: queue, rounds, turns)
        trusted = {"AWS_CA_BUNDLE": str(certificate[0])}
        with canned(certificate) as url, settings(AWS_ENDPOINT_URL=url, **KEYS, **trusted):
            rows += compare("the same by TLS", lambda: queue, rounds, turns)
    with started("ministack") as emulator, emulator.in_use():
        rows += compare("MiniStack", lambda: asyncio.run(new_queue_and_table()), max(1, rounds // 3), turns)
    click.echo("CPU of a call in its client, ms; ten messages or 25 rows each")
    click.echo(tabulate(rows, ["server", "in flight", "client", *STEPS], disable_numparse=True))
    if with_runs:
        headers = [
            "bundle",
            "client",
            "tasks/s",
            "worker, CPU ms a task",
            "client, CPU ms a task",
            "requests a task",
        ]
        click.echo("\nRuns on MiniStack, one worker, `lease`, tasks of no length")
        click.echo(tabulate(runs(1_800, 18_000, turns), headers, disable_numparse=True))


async def new_queue_and_table() -> str:
    calls = Calls(client="boto3")
    try:
        await calls.call("dynamodb", "DeleteTable", TableName=LAYOUT.table)
    except Exception as error:
        if getattr(error, "not_there", False) is False:
            raise
    await calls.call(
        "dynamodb", "CreateTable", TableName=LAYOUT.table, BillingMode="PAY_PER_REQUEST", **table_definition()
    )
    reply = await calls.call("sqs", "CreateQueue", QueueName=f"bench-{time.monotonic_ns()}")
    await calls.close()
    url: str = reply["QueueUrl"]
    return url


if __name__ == "__main__":
    main()

"""Word to an SNS topic when a run has ended, on request: a person need not look, and nothing hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.exceptions
import msgspec
from botocore.config import Config

from kon.backends.aws.options import AwsOptions
from kon.core.errors import ConfigurationError, StoreError
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder

FLEET: Final = "fleet"
"""In place of a topic's ARN: the one that `playbooks/provision.yml` makes for alarms."""

_CONFIG: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
_MOST_SUBJECT: Final = 100  # characters that SNS takes


class Notices:
    """Sends one message for each run that ends. It never raises: what goes wrong is said by `note`."""

    def __init__(
        self,
        topic: str,
        specs: Sequence[RunSpec],
        note: Callable[[str], None],
        option: str = "--notify",
    ) -> None:
        """topic: an ARN, or `fleet`. Raises ConfigurationError for anything else.

        option: what whoever asks for them calls it.
        """
        self._note = note
        self._topic: Final = topic
        self._options = AwsOptions()
        if topic == FLEET:
            found = [spec.backend.options for spec in specs if spec.backend.name == "aws"]
            if not found:
                raise ConfigurationError(
                    f"{option}: no run here has the backend aws, so that it has no fleet; name a topic"
                )
            self._options = AwsOptions.parse(found[0])
        elif not (topic.startswith("arn:") and topic.count(":") == 5 and topic.split(":")[2] == "sns"):
            raise ConfigurationError(
                f'{option}: expected the ARN of an SNS topic, or "{FLEET}", found "{topic}"'
            )

    def ended(self, row: dict[str, Any], folder: Path) -> None:
        """Every task of a run is accounted for; this is its row."""
        whole = row["done"] == row["tasks"]
        states = ("done", "failed", "dead", "lost", "cancelled")
        told = {name: row[name] for name in states if row.get(name)}
        usd = row.get("usd")
        self._send(
            f"kon: {row['run']} {'is done' if whole else 'has ended, not all is done'}",
            {
                "run": row["run"],
                "state": "done" if whole else "ended",
                "tasks": row["tasks"],
                **told,
                "wall_s": row["wall_s"],
                "usd": usd,
            },
            folder,
        )

    def broken_off(self, folder: RunFolder, error: BaseException) -> None:
        """A run was left as it was, to be gone on with."""
        try:
            spec = folder.read_run().spec
            accounted = sum(1 for _ in folder.outcomes())
        except StoreError:
            return  # it had not begun
        about = {"run": spec.run, "state": "broken off", "tasks": spec.tasks, "accounted": accounted}
        self._send(f"kon: {spec.run} was broken off", {**about, "error": str(error)}, folder.path)

    def _send(self, subject: str, about: dict[str, Any], folder: Path) -> None:
        page = folder.absolute() / "report.html"
        where = page.as_uri() if page.exists() else f"kon report {folder.absolute()}"
        whole = {**about, "records": str(folder.absolute()), "report": where}
        body = "".join(f"{name}: {_shown(value)}\n" for name, value in whole.items() if value is not None)
        try:
            arn = self._arn()
            region = arn.split(":")[3]
            client = boto3.client("sns", region_name=region, config=_CONFIG)
            try:
                client.publish(TopicArn=arn, Subject=subject[:_MOST_SUBJECT], Message=body)
            finally:
                client.close()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            self._note(
                f"nobody was told that {about['run']} has ended: SNS: {error}; the run itself is as it is"
            )

    def _arn(self) -> str:
        if self._topic != FLEET:
            return self._topic
        session = boto3.Session(region_name=self._options.region)
        client = session.client("sts", config=_CONFIG)
        try:
            me = client.get_caller_identity()
        finally:
            client.close()
        partition, region = me["Arn"].split(":")[1], client.meta.region_name
        return f"arn:{partition}:sns:{region}:{me['Account']}:{self._options.prefix}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

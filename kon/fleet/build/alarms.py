"""Alarms of a fleet: messages that no worker could finish, and the bill of the account's month."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kon.fleet.build.wanted import Work
from kon.fleet.clients import Clients
from kon.fleet.sweep import BILLS
from kon.fleet.thing import listed

_BILL_PERIOD_S: Final = 21_600  # Amazon reckons it some four times a day


def alarms(work: Work, partition: str) -> None:
    """Make them, with the topics that they go to; whoever is told has to confirm by mail."""
    wanted, here = work.wanted, work.aws
    topic = _topic(work, here, wanted.stem)
    for queue in wanted.dead_queues:
        _alarm(
            work,
            here,
            topic,
            name=queue,
            about="Messages of kon's that no worker could finish; `kon results RUN --failed` says which",
            metric=("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue}),
            above=0.0,
            period_s=60,
        )
    if partition != "aws":
        work.notes.append(f"there is no alarm about the bill: the partition {partition} has no such metric")
        return
    there = Clients(BILLS)
    try:
        _alarm(
            work,
            there,
            _topic(work, there, wanted.bill_name),
            name=wanted.bill_name,
            about="The account's bill of this month",
            metric=("AWS/Billing", "EstimatedCharges", {"Currency": "USD"}),
            above=wanted.billing_usd,
            period_s=_BILL_PERIOD_S,
        )
    finally:
        there.close()


def _topic(work: Work, aws: Clients, name: str) -> str:
    """Make it, and have the mail address told; its ARN, or nothing where nothing is changed."""
    sns, mail = aws("sns"), work.wanted.alarm_mail
    arns = [each["TopicArn"] for each in aws.pages("sns", "list_topics", "Topics")]
    arn = next((each for each in arns if each.rpartition(":")[2] == name), "")
    if not arn:
        made = work.change("topic", name, lambda: sns.create_topic(Name=name, Tags=listed(work.tags)))
        arn = made["TopicArn"] if made else ""
    told = (
        [
            each["Endpoint"]
            for each in aws.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn)
        ]
        if arn
        else []
    )
    if mail not in told:
        work.change(
            "topic",
            f"{name}: tells {mail}",
            lambda: sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=mail),
        )
    return arn


def _alarm(
    work: Work,
    aws: Clients,
    topic: str,
    *,
    name: str,
    about: str,
    metric: tuple[str, str, Mapping[str, str]],
    above: float,
    period_s: int,
) -> None:
    """It has tags from its creation: what has none can't be told from other people's."""
    namespace, called, dimensions = metric
    wanted: dict[str, Any] = {
        "AlarmName": name,
        "AlarmDescription": about,
        "Namespace": namespace,
        "MetricName": called,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        "Statistic": "Maximum",
        "Period": period_s,
        "EvaluationPeriods": 1,
        "Threshold": above,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [topic],
    }
    cloudwatch = aws("cloudwatch")
    there = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not there or any(there[0].get(key) != value for key, value in wanted.items()):
        work.change(
            "alarm",
            f"{name}: above {above:g}",
            lambda: cloudwatch.put_metric_alarm(**wanted, Tags=listed(work.tags)),
            f"above {there[0]['Threshold']:g}" if there else "",
        )

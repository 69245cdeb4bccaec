"""The options of the backend aws."""

from __future__ import annotations

from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.options import AwsOptions, Throughput, names_of, tags_of
from kon.core.errors import ConfigurationError


def test_defaults() -> None:
    options = AwsOptions.parse({})
    assert (options.queue, options.ledger, options.capacity) == ("standard", "dynamodb", None)
    assert (options.claims, options.reads, options.prefix, options.region) == ("batch", "strong", "kon", None)
    assert options.link_expires_s == 600.0


def test_every_option_can_be_given() -> None:
    given: dict[str, Any] = {
        "queue": "fifo",
        "ledger": "s3",
        "billing": {"read": 3},
        "claims": "single",
        "reads": "eventual",
        "prefix": "lab-7",
        "region": "eu-central-1",
        "receivers": 2,
        "link_expires_s": 60,
        "depth_lag_s": 1,
        "expires_h": 0.5,
        "client": "boto3",
        "objects": "s3://my-bucket/pictures",
        "results_cold_after_days": None,
        "results_storage_class": "GLACIER_IR",
        "kms_key": "alias/runs",
        "signed": True,
    }
    assert given.keys() == set(AwsOptions.__struct_fields__)
    assert AwsOptions.parse(given) == AwsOptions(**{**given, "billing": Throughput(3, 50)})


@pytest.mark.parametrize(
    ("objects", "stored"),
    [
        (None, None),
        ("s3://my-bucket", ("my-bucket", "")),
        ("s3://my-bucket/", ("my-bucket", "")),
        ("s3://my.bucket/a/b", ("my.bucket", "a/b/")),
        ("s3://my-bucket/a/", ("my-bucket", "a/")),
    ],
)
def test_a_place_for_objects(objects: str | None, stored: tuple[str, str] | None) -> None:
    assert AwsOptions.parse({"objects": objects}).stored == stored


@pytest.mark.parametrize(
    ("value", "billing"),
    [
        ("on_demand", None),
        ("provisioned", Throughput(20, 50)),
        ({"read": 1, "write": 2}, Throughput(1, 2)),
        ({}, Throughput(20, 50)),
    ],
)
def test_billing(value: object, billing: Throughput | None) -> None:
    assert AwsOptions.parse({"billing": value}).capacity == billing


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"queu": "fifo"}, 'unknown option "queu" of backend aws, did you mean "queue"'),
        ({"queue": "FIFO"}, 'expected "standard" or "fifo", found "FIFO", did you mean "fifo"'),
        ({"ledger": "dynamo"}, 'did you mean "dynamodb"'),
        ({"objects": "my-bucket"}, "expected a bucket and what its keys begin with"),
        ({"objects": "s3://my-bucket//a"}, "expected a bucket"),
        ({"ledger": None}, 'expected "dynamodb" or "s3", found nothing'),
        ({"claims": "singel"}, 'did you mean "single"'),
        ({"reads": 1}, 'expected "strong" or "eventual", found 1'),
        ({"billing": "on-demand"}, 'did you mean "on_demand"'),
        (
            {"billing": {"reads": 1}},
            'option "billing" of backend aws: unknown key "reads", did you mean "read"',
        ),
        ({"billing": {"read": 0}}, 'option "billing.read" of backend aws: expected a whole number'),
        ({"prefix": "Kon"}, "small letters"),
        ({"prefix": "-kon"}, "small letters"),
        ({"prefix": "k" * 21}, "small letters"),
        ({"region": "Frankfurt"}, "such as us-east-1"),
        ({"receivers": 0}, "1 to 32 receives"),
        ({"receivers": 33}, "1 to 32"),
        ({"receivers": True}, "a whole number"),
        ({"link_expires_s": 604_801}, "7 days"),
        ({"link_expires_s": "10"}, "7 days"),
        ({"depth_lag_s": float("nan")}, "seconds, 0 or more"),
        ({"expires_h": 0}, "more than 0"),
    ],
)
def test_what_cant_be_used_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AwsBackend(options)
    assert text in str(caught.value)


def test_names_are_such_as_amazon_takes_and_apart() -> None:
    options = AwsOptions(prefix="p" * 20, queue="fifo")
    runs = ["a", "a.b", "a b", "ü" * 70, "x" * 200, "x" * 201, "x" * 44, "x" * 45]
    names = [names_of(run, options) for run in runs]
    for each in names:
        for queue in each.queues:
            assert len(queue) <= 80
            assert queue.removesuffix(".fifo").replace("-", "").replace("_", "").isalnum()
            assert queue.isascii()
    assert len({each.tasks for each in names}) == len(runs)
    assert len({each.table for each in names}) == len(runs)
    assert len({each.objects for each in names}) == len(runs)


def test_only_tasks_and_the_dead_are_fifo() -> None:
    names = names_of("r", AwsOptions(queue="fifo"))
    assert names.queues == ("kon-r-tasks.fifo", "kon-r-answers", "kon-r-dead.fifo")


def test_tags() -> None:
    assert tags_of("r (1)", AwsOptions(expires_h=2.0), 1_800_000_000.0) == {
        "Project": "kon",
        "Run": "r _1_",
        "ExpiresAt": "2027-01-15T10:00:00Z",
    }

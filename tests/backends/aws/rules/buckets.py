"""Scenarios of the bucket."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from kon.backends.aws import AwsBackend
from kon.backends.emulator.strict.faults import Fault
from kon.core.errors import BackendRefused, ConfigurationError
from kon.core.ledger import Record
from tests.backends.aws.rules.bed import CHANNEL, Bed, of, refused
from tests.emulators import as_anybody


@of("bucket-was-deleted-recently")
async def a_bucket_was_deleted_by_somebody(bed: Bed) -> None:
    await bed.kon("create", "delete")
    bed.s3.delete_bucket(Bucket=bed.bucket)
    await bed.kon("create", "open")


@of("deleted-buckets-are-listed")
async def a_sweep_meets_a_bucket_that_has_gone(bed: Bed) -> None:
    await bed.kon("create", "delete")
    bed.s3.delete_bucket(Bucket=bed.bucket)
    assert bed.found("bucket") == []


@of("bucket-has-another-owner")
async def a_bucket_of_that_name_is_anothers(bed: Bed) -> None:
    bed.s3.create_bucket(Bucket=bed.bucket)
    bed.set(owners={bed.bucket: "111111111111"})
    with pytest.raises(BackendRefused, match="another account"):
        await bed.kon("create")


@of("bucket-is-in-another-region")
async def a_bucket_of_that_name_is_in_another_region(bed: Bed) -> None:
    """boto3 follows S3 to the region, and kon sees whose the bucket is."""
    there = as_anybody("s3", region_name="eu-west-1", endpoint_url=bed.emulator.endpoint)
    there.create_bucket(Bucket=bed.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(ConfigurationError, match=f"{bed.bucket} that does not have the tags"):
        await bed.kon("create")


@of("bucket-name-is-taken")
async def a_name_was_taken_a_moment_ago(bed: Bed) -> None:
    bed.s3.create_bucket(Bucket=bed.bucket)
    bed.set(owners={bed.bucket: "111111111111"}, fault=Fault("s3:HeadBucket", "not_there"))
    with pytest.raises(ConfigurationError, match="taken by another account"):
        await bed.kon("create")


@of("location-must-fit")
async def a_run_in_another_region(bed: Bed) -> None:
    await bed.kon("create", "open", "delete", region="eu-west-1")
    there = as_anybody("s3", region_name="eu-west-1", endpoint_url=bed.emulator.endpoint)
    code = refused(there.create_bucket, Bucket=f"{bed.prefix}-elsewhere")
    assert code == "IllegalLocationConstraintException"


@of("conditional-writes-meet")
async def rows_are_written_to_the_bucket(bed: Bed) -> None:
    backend = AwsBackend({"prefix": bed.prefix, "ledger": "s3"})
    try:
        await backend.create("r", CHANNEL)
        ledger = (await backend.open("r")).ledger
        rows = [Record(number, "t") for number in range(7)]
        assert await ledger.insert_new(rows) == [None] * 7
        assert await ledger.read(range(7)) == rows
    finally:
        await backend.close()


@of("a-thousand-keys-at-a-time")
async def a_run_with_many_objects_is_deleted(bed: Bed) -> None:
    await bed.kon("create")
    for number in range(1_001):
        bed.s3.put_object(Bucket=bed.bucket, Key=f"r/objects/{number}", Body=b"")
    await bed.kon("delete")
    assert bed.s3.list_objects_v2(Bucket=bed.bucket)["KeyCount"] == 0
    keys = [{"Key": str(number)} for number in range(1_001)]
    assert refused(bed.s3.delete_objects, Bucket=bed.bucket, Delete={"Objects": keys}) == "MalformedXML"


@of("rules-come-in-another-order")
async def a_buckets_rules_are_left_as_they_are(bed: Bed) -> None:
    await bed.kon("create", results_cold_after_days=3)
    before = len(bed.emulator.strict_state().calls)
    await bed.kon("create", results_cold_after_days=3)
    made = [each.call for each in bed.emulator.strict_state().calls[before:]]
    assert "s3:PutBucketLifecycleConfiguration" not in made


@of("bucket-names-are-plain", "tags-of-amazons-own")
async def a_bucket_that_a_stack_made(bed: Bed) -> None:
    """kon keeps Amazon's own tags by writing none, and has no prefix that makes no bucket's name."""
    with pytest.raises(ConfigurationError, match="prefix"):
        AwsBackend({"prefix": "Not_plain"})
    await bed.kon("create")
    own = {"TagSet": [{"Key": "aws:stack", "Value": "x"}]}
    assert refused(bed.s3.put_bucket_tagging, Bucket=bed.bucket, Tagging=own) == "InvalidTag"
    assert refused(bed.s3.create_bucket, Bucket="not-plain-s3alias") == "InvalidBucketName"


@of("keys-have-1024-bytes", "parts-have-5-mebibytes", "changes-have-a-checksum")
async def a_large_file_is_kept_and_a_long_name_is_not(bed: Bed) -> None:
    """Parts are of 8 MiB, whatever is left over; a name that S3 would refuse never gets there."""
    backend = AwsBackend({"prefix": bed.prefix})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(b"x" * ((8 << 20) + 1))
        try:
            await backend.create("r", CHANNEL)
            objects = (await backend.open("r")).objects
            assert objects is not None
            await objects.put("large", file)
            assert await objects.size_bytes("large") == (8 << 20) + 1
            with pytest.raises(ConfigurationError, match="S3 takes 1,024"):
                await objects.put("k" * 1_025, file)
            await backend.delete("r")
        finally:
            await backend.close()
    s3, here = bed.s3, {"Bucket": bed.bucket, "Key": "m"}
    assert refused(s3.put_object, Bucket=bed.bucket, Key="k" * 1_025) == "KeyTooLongError"
    upload = {**here, "UploadId": s3.create_multipart_upload(**here)["UploadId"]}
    parts = [
        {"PartNumber": nth, "ETag": s3.upload_part(**upload, PartNumber=nth, Body=b"x")["ETag"]}
        for nth in (1, 2)
    ]
    code = refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    assert code == "EntityTooSmall"
    s3.abort_multipart_upload(**upload)
    plain = as_anybody("s3")
    plain.meta.events.register("before-sign.s3", _without_checksum)
    keys = {"Objects": [{"Key": "x"}]}
    assert refused(plain.delete_objects, Bucket=bed.bucket, Delete=keys) == "InvalidRequest"


def _without_checksum(request: Any, **_: Any) -> None:
    for name in list(request.headers):
        if name.lower() == "content-md5" or name.lower().startswith("x-amz-checksum-"):
            del request.headers[name]

"""S3's rules."""

from __future__ import annotations

import re
from typing import Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, changes, refuses, tracks

_API: Final = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
_CONFIGURES: Final = (
    "s3:PutBucketTagging",
    "s3:PutBucketLifecycleConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutPublicAccessBlock",
    "s3:PutBucketEncryption",
)
_OF_BUCKETS: Final = (
    *_CONFIGURES,
    "s3:HeadBucket",
    "s3:DeleteBucket",
    "s3:GetBucketTagging",
    "s3:GetBucketLifecycleConfiguration",
    "s3:ListObjectsV2",
    "s3:ListMultipartUploads",
    "s3:DeleteObjects",
    "s3:PutObject",
    "s3:GetObject",
    "s3:HeadObject",
    "s3:DeleteObject",
    "s3:CreateMultipartUpload",
)
_ABORTED: Final = Refusal(
    "OperationAborted",
    "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    409,
)
_KEYS: Final = 1_000
_TAGS: Final = 50
_NAME: Final = re.compile(r"(?!xn--|sthree-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)")
_CONDITIONAL: Final = 5
"""Every fifth conditional write of a bucket meets another, here."""


def _bucket(call: Call) -> str:
    return str(call.parameters.get("Bucket", ""))


@tracks("s3:CreateBucket")
def _made(call: Call, account: Account, reply: Reply) -> None:
    name = _bucket(call)
    if account.get("bucket", name) is None:
        bucket = account.made("bucket", name, busy=1)
        bucket.about["region"] = call.parameters.get("LocationConstraint") or call.region


@tracks("s3:DeleteBucket")
def _deleted(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("bucket", _bucket(call), blocked=2, listed=1)


@refuses("s3:CreateBucket", source="https://github.com/aws/aws-cli/issues/2593")
def bucket_was_deleted_recently(call: Call, account: Account) -> Refusal | None:
    """A bucket of that name was deleted within the last hour (here: two calls): OperationAborted, 409."""
    gone = account.gone.get(("bucket", _bucket(call)))
    return _ABORTED if gone is not None and gone.still("blocked") else None


@refuses(*_CONFIGURES, source="https://github.com/hashicorp/terraform-provider-aws/issues/33531")
def bucket_is_being_configured(call: Call, account: Account) -> Refusal | None:
    """Another configuration of the bucket is under way (here: once after its creation): OperationAborted."""
    bucket = account.get("bucket", _bucket(call))
    return _ABORTED if bucket is not None and bucket.still("busy") else None


@refuses(
    *_OF_BUCKETS, source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html"
)
def bucket_has_another_owner(call: Call, account: Account) -> Refusal | None:
    """x-amz-expected-bucket-owner is not the bucket's owner: AccessDenied, 403."""
    bucket = account.get("bucket", _bucket(call))
    expected = call.headers.get("x-amz-expected-bucket-owner")
    owner = account.account_id if bucket is None else bucket.about.get("owner", account.account_id)
    return Refusal("AccessDenied", "Access Denied", 403) if expected not in (None, owner) else None


@refuses("s3:CreateBucket", source=_API + "API_CreateBucket.html")
def bucket_name_is_taken(call: Call, account: Account) -> Refusal | None:
    """Another account has a bucket of that name: BucketAlreadyExists, 409."""
    bucket = account.get("bucket", _bucket(call))
    if bucket is None or bucket.about.get("owner", account.account_id) == account.account_id:
        return None
    return Refusal(
        "BucketAlreadyExists", "The requested bucket name is not available. Please select another name.", 409
    )


@refuses(*_OF_BUCKETS, source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html")
def bucket_is_in_another_region(call: Call, account: Account) -> Refusal | None:
    """The bucket is in another region than the one the request is signed for: 301 PermanentRedirect."""
    bucket = account.get("bucket", _bucket(call))
    region = call.region if bucket is None else bucket.about.get("region", call.region)
    if region == call.region:
        return None
    return Refusal(
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
        301,
        headers={"x-amz-bucket-region": region},
    )


@refuses("s3:CreateBucket", source=_API + "API_CreateBucket.html")
def location_must_fit(call: Call, account: Account) -> Refusal | None:
    """LocationConstraint is left out outside us-east-1, or names us-east-1: 400."""
    where = call.parameters.get("LocationConstraint")
    if where == "us-east-1":
        return Refusal("InvalidLocationConstraint", "The specified location-constraint is not valid")
    if where is None and call.region != "us-east-1":
        return Refusal(
            "IllegalLocationConstraintException",
            "The unspecified location constraint is incompatible for the region specific endpoint this "
            "request was sent to.",
        )
    return None


@refuses(
    "s3:CreateBucket", source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"
)
def bucket_names_are_plain(call: Call, account: Account) -> Refusal | None:
    """A bucket's name breaks the rules of names: InvalidBucketName."""
    if _NAME.fullmatch(_bucket(call)):
        return None
    return Refusal("InvalidBucketName", "The specified bucket is not valid.")


@refuses("s3:PutBucketTagging", "s3:CreateBucket", source=_API + "API_PutBucketTagging.html")
def tags_of_amazons_own(call: Call, account: Account) -> Refusal | None:
    """A tag begins with aws:, or there are more than 50: InvalidTag."""
    tags = call.parameters.get("Tags") or {}
    if len(tags) <= _TAGS and not any(key.lower().startswith("aws:") for key in tags):
        return None
    return Refusal("InvalidTag", "System tags cannot be added/updated by requester")


@refuses("s3:DeleteObjects", source=_API + "API_DeleteObjects.html")
def a_thousand_keys_at_a_time(call: Call, account: Account) -> Refusal | None:
    """DeleteObjects names none, or more than 1,000 keys: MalformedXML."""
    if 0 < len(call.parameters.get("Keys", ())) <= _KEYS:
        return None
    return Refusal("MalformedXML", "The XML you provided was not well-formed")


@refuses("s3:PutObject", source="https://github.com/apache/opendal/issues/6741")
def conditional_writes_meet(call: Call, account: Account) -> Refusal | None:
    """A conditional write meets another (here: every fifth of a bucket): ConditionalRequestConflict, 409."""
    if "if-none-match" not in call.headers and "if-match" not in call.headers:
        return None
    # by bucket: whoever counts its own requests meets as many conflicts, whatever others do meanwhile
    counted = f"conditional {_bucket(call)}"
    account.calls[counted] += 1
    if account.calls[counted] % _CONDITIONAL:
        return None
    return Refusal(
        "ConditionalRequestConflict",
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
        409,
    )


@changes("s3:ListBuckets", source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html")
def deleted_buckets_are_listed(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A bucket that was deleted a moment ago (here: one list) is still listed."""
    going = [gone.name for gone in account.going("bucket") if gone.still("listed")]
    if not reply.ok or not going:
        return None
    entries = "".join(
        f"<Bucket><Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"
        for name in going
    )
    body = reply.body.replace(b"<Buckets/>", b"<Buckets></Buckets>").replace(
        b"<Buckets />", b"<Buckets></Buckets>"
    )
    return reply.with_body(body.replace(b"</Buckets>", f"{entries}</Buckets>".encode()))


@changes(
    "s3:GetBucketLifecycleConfiguration",
    source="https://github.com/cloudposse/terraform-aws-s3-bucket/pull/274",
)
def rules_come_in_another_order(call: Call, account: Account, reply: Reply) -> Reply | None:
    """Lifecycle rules come back in another order than they were put, with a header that nobody set."""
    rules = re.findall(rb"<Rule>.*?</Rule>", reply.body, re.S)
    if not reply.ok or not rules:
        return None
    first, last = reply.body.index(b"<Rule>"), reply.body.rindex(b"</Rule>") + len(b"</Rule>")
    changed = reply.with_body(reply.body[:first] + b"".join(reversed(rules)) + reply.body[last:])
    changed.headers["x-amz-transition-default-minimum-object-size"] = "all_storage_classes_128K"
    return changed

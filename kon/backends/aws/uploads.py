"""Uploads in parts that nobody will end: their workers were killed. Their parts are paid for until then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from kon.backends.aws.failures import CallRefused

Call = Callable[..., Awaitable[dict[str, Any]]]
"""One call: service, operation, and its parameters by name."""


async def abort_uploads(call: Call, bucket: str, prefix: str, only: str | None = None) -> None:
    """Abort the unfinished uploads to keys that begin with `prefix`; with `only`, those to this key alone.

    Who may not list or abort them leaves them to the bucket's lifecycle rule, which clears them away after
    a day.
    """
    after: dict[str, str] = {}
    with suppress(CallRefused):
        while True:
            page = await call("s3", "ListMultipartUploads", Bucket=bucket, Prefix=prefix, **after)
            for upload in page.get("Uploads", ()):
                if only in (None, upload["Key"]):
                    about = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                    with suppress(CallRefused):  # it has been ended or aborted meanwhile
                        await call("s3", "AbortMultipartUpload", Bucket=bucket, **about)
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

"""S3: one bucket and the calls that kon makes, as HTTP has them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final
from xml.sax.saxutils import escape

from kon.backends.sim.network import Network
from kon.backends.sim.trace import What
from kon.trials.prove.amazon.http import Answer, Refused, Request

PAGE: Final = 4
"""Keys of a page of a list: few, so that there is more than one page."""


class S3Model:
    """One bucket."""

    def __init__(self, bucket: str, network: Network) -> None:
        self.objects: dict[str, bytes] = {}
        self._path = f"/{bucket}"
        self._network = network

    def do(self, request: Request, host: str) -> Answer:
        """Raises Refused."""
        bucket, _, key = request.path[1:].partition("/")
        if f"/{bucket}" != self._path:
            raise Refused("NoSuchBucket", 404)
        if not key:
            return self._list(request)
        there = self.objects.get(key)
        if request.method == "GET":
            if there is None:
                raise Refused("NoSuchKey", 404)
            return Answer(200, there, {"ETag": _etag(there), "Content-Type": "binary/octet-stream"})
        self._check(request, there, host)
        if request.method == "PUT":
            self.objects[key] = request.body
            return Answer(200, b"", {"ETag": _etag(request.body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Answer(204, b"")
        raise Refused("MethodNotAllowed", 405)

    def _check(self, request: Request, there: bytes | None, host: str) -> None:
        """The conditions of a write."""
        if_match, if_none = request.headers.get("if-match"), request.headers.get("if-none-match")
        if if_match is None and if_none is None:
            return
        faults = self._network.faults
        if faults is not None and faults.fires("transaction_conflict", "s3") is not None:
            if self._network.trace is not None:
                now_s = asyncio.get_running_loop().time()
                self._network.trace.add(now_s, What.FAULT, host, "ledger", "put", (), "in conflict")
            raise Refused("ConditionalRequestConflict", 409)
        if if_none is not None and there is not None:
            raise Refused("PreconditionFailed", 412)
        if if_match is not None:
            if there is None:
                raise Refused("NoSuchKey", 404)
            if if_match != _etag(there):
                raise Refused("PreconditionFailed", 412)

    def _list(self, request: Request) -> Answer:
        query = request.query
        after = query.get("continuation-token") or query.get("start-after", "")
        keys = sorted(key for key in self.objects if key.startswith(query["prefix"]) and key > after)
        page = keys[: min(PAGE, int(query.get("max-keys", PAGE)))]
        found = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        more = (
            f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
            if len(page) < len(keys)
            else ""
        )
        body = (
            f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{found}"
            "</ListBucketResult>"
        )
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'

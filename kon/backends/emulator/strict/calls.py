"""Calls of Amazon's services as they come over HTTP, and refusals as they go back."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import msgspec
from botocore.parsers import RpcV2CBORParser

_SCOPE: Final = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_SMITHY: Final = re.compile(r"/service/\w+/operation/(\w+)")

S3_OPERATIONS: Final[Mapping[tuple[str, bool, str], str]] = {
    ("GET", False, "tagging"): "GetBucketTagging",
    ("PUT", False, "tagging"): "PutBucketTagging",
    ("GET", False, "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", False, "lifecycle"): "PutBucketLifecycleConfiguration",
    ("DELETE", False, "lifecycle"): "DeleteBucketLifecycle",
    ("GET", False, "policy"): "GetBucketPolicy",
    ("PUT", False, "policy"): "PutBucketPolicy",
    ("GET", False, "publicAccessBlock"): "GetPublicAccessBlock",
    ("PUT", False, "publicAccessBlock"): "PutPublicAccessBlock",
    ("GET", False, "encryption"): "GetBucketEncryption",
    ("PUT", False, "encryption"): "PutBucketEncryption",
    ("GET", False, "versioning"): "GetBucketVersioning",
    ("PUT", False, "versioning"): "PutBucketVersioning",
    ("GET", False, "location"): "GetBucketLocation",
    ("GET", False, "versions"): "ListObjectVersions",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("POST", False, "delete"): "DeleteObjects",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("PUT", True, "uploadId"): "UploadPart",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
    ("GET", True, "uploadId"): "ListParts",
    ("POST", True, "restore"): "RestoreObject",
    ("GET", False, ""): "ListObjectsV2",
    ("PUT", False, ""): "CreateBucket",
    ("HEAD", False, ""): "HeadBucket",
    ("DELETE", False, ""): "DeleteBucket",
    ("GET", True, ""): "GetObject",
    ("PUT", True, ""): "PutObject",
    ("HEAD", True, ""): "HeadObject",
    ("DELETE", True, ""): "DeleteObject",
}
"""By method, whether there is a key, and the word in the query that tells it apart."""

_SUBRESOURCES: Final = frozenset(word for _, _, word in S3_OPERATIONS if word)


class Request(msgspec.Struct, frozen=True):
    """HTTP's part of a call. path: still quoted. headers: by names in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Call(msgspec.Struct, frozen=True):
    """service, operation: as botocore names them. key_id: of the access key that signed it.

    parameters: as the API names them; those of EC2 and of the query protocol stay flat (`Tag.1.Key`).
    protocol: how a refusal is written: `json`, `query`, `ec2`, `s3` or `cbor`.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    region: str
    key_id: str
    protocol: str
    method: str
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"


class Refusal(msgspec.Struct, frozen=True):
    """An error as the service answers it. query_code: SQS's older name for it, in a header of its own."""

    code: str
    message: str
    status: int = 400
    query_code: str = ""
    headers: Mapping[str, str] = {}


_OF_BODY: Final = frozenset({"content-length", "transfer-encoding", "x-amz-crc32", "content-md5"})


class Reply(msgspec.Struct):
    """What goes back over HTTP. headers: by names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body) if self.body else {}
        return found

    def with_body(self, body: bytes) -> Reply:
        kept = {name: value for name, value in self.headers.items() if name not in _OF_BODY}
        return Reply(self.status, {**kept, "content-length": str(len(body))}, body)

    def with_json(self, content: Mapping[str, Any], status: int | None = None) -> Reply:
        made = self.with_body(msgspec.json.encode(content))
        if status is not None:
            made.status = status
            made.headers.pop("x-amzn-query-error", None)
        return made


def call_of(request: Request) -> Call | None:
    """None for what is no call of a service: an emulator's own pages, or a request that nobody signed."""
    query = parse_qs(request.query, keep_blank_values=True)
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    if scope is None:
        signed = query.get("X-Amz-Credential")
        scope = _SCOPE.search(f"Credential={signed[0]}") if signed else None
    if scope is None:
        return None
    key_id, region, service = scope.groups()
    service = {"monitoring": "cloudwatch", "elasticfilesystem": "efs"}.get(service, service)

    def call(operation: str, parameters: Mapping[str, Any], protocol: str) -> Call:
        return Call(service, operation, parameters, region, key_id, protocol, request.method, request.headers)

    target = request.headers.get("x-amz-target")
    if target is not None:
        return call(target.rpartition(".")[2], _json(request.body), "json")
    if service == "s3":
        return call(*_s3(request, query), "s3")
    smithy = _SMITHY.fullmatch(request.path)
    if smithy is not None:
        return call(smithy[1], _of_cbor(request.body), "cbor")
    flat = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if "Action" not in flat:
        flat |= {name: values[0] for name, values in query.items()}
    return call(flat.get("Action", ""), flat, "ec2" if service == "ec2" else "query")


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = msgspec.json.decode(body or b"{}")
    except msgspec.DecodeError:
        return {}
    return found


def _of_cbor(body: bytes) -> Mapping[str, Any]:
    found = RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body))) if body else {}
    return found if isinstance(found, dict) else {}


def _s3(request: Request, query: Mapping[str, list[str]]) -> tuple[str, Mapping[str, Any]]:
    bucket, _, key = request.path.lstrip("/").partition("/")
    bucket, key = unquote(bucket), unquote(key)
    if not bucket:
        return "ListBuckets", {}
    word = next((name for name in query if name in _SUBRESOURCES), "")
    operation = S3_OPERATIONS.get((request.method, bool(key), word), f"{request.method} {word}")
    parameters: dict[str, Any] = {"Bucket": bucket}
    if key:
        parameters["Key"] = key
    if word == "uploadId":
        parameters |= {
            "UploadId": query["uploadId"][0],
            "PartNumber": query.get("partNumber", [""])[0],
        }
    if operation in ("CreateBucket", "DeleteObjects", "PutBucketTagging"):
        parameters |= _s3_body(operation, request.body)
    return operation, parameters


def _s3_body(operation: str, body: bytes) -> dict[str, Any]:
    try:
        root = ElementTree.fromstring(body or b"<Empty/>")
    except ElementTree.ParseError:
        return {}

    def texts(name: str) -> list[str]:
        return [each.text or "" for each in root.iter() if each.tag.rpartition("}")[2] == name]

    if operation == "DeleteObjects":
        return {"Keys": texts("Key")}
    found: dict[str, Any] = {"Tags": dict(zip(texts("Key"), texts("Value")))}
    if where := texts("LocationConstraint"):
        found["LocationConstraint"] = where[0]
    return found


# --- answers --------------------------------------------------------------------------------------------


_XML: Final = {
    "s3": '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
    "<RequestId>strict</RequestId></Error>",
    "ec2": '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
    "<Message>{message}</Message></Error></Errors><RequestID>strict</RequestID></Response>",
    "query": "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    "</Error><RequestId>strict</RequestId></ErrorResponse>",
}


def refused(call: Call, refusal: Refusal) -> Reply:
    """The refusal as the call's protocol writes it."""
    code, message = refusal.code, refusal.message
    headers = {"x-amzn-requestid": "strict", **refusal.headers}
    if call.protocol == "json":
        body = msgspec.json.encode({"__type": f"com.amazonaws#{code}", "message": message})
        headers["content-type"] = "application/x-amz-json-1.0"
        if refusal.query_code:
            headers["x-amzn-query-error"] = f"{refusal.query_code};Sender"
    elif call.protocol == "cbor":
        body = b"\xa2" + b"".join(map(_cbor, ("__type", code, "message", message)))
        headers |= {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    else:
        body = _XML[call.protocol].format(code=escape(code), message=escape(message)).encode()
        headers["content-type"] = "application/xml"
    if call.method == "HEAD":
        body = b""
    return Reply(refusal.status, {**headers, "content-length": str(len(body))}, body)


def _cbor(text: str) -> bytes:
    """A text of less than 64 KiB (RFC 8949, major type 3)."""
    raw = text.encode()[:65_535]
    return b"\x79" + len(raw).to_bytes(2, "big") + raw

"""Bodies of requests and replies, both JSON, as boto3 takes and gives them: dicts, with blobs as bytes."""

from __future__ import annotations

from typing import Any, Final, TypedDict

import msgspec

encode: Final = msgspec.json.Encoder().encode
"""A call's parameters. Bytes, which are blobs of DynamoDB, become base64."""


class Value(TypedDict, total=False):
    """An attribute's value, of the types that kon's rows have."""

    S: str
    N: str
    B: bytes


Row = dict[str, Value]


class _Error(TypedDict, total=False):
    Code: str
    Message: str
    Item: Row


class _Answer(TypedDict, total=False):
    Error: _Error
    Item: Row


class _Statements(TypedDict, total=False):
    Responses: list[_Answer]
    ConsumedCapacity: list[dict[str, Any]]


class _Keys(TypedDict, total=False):
    Keys: list[Row]


class _Rows(TypedDict, total=False):
    Responses: dict[str, list[Row]]
    UnprocessedKeys: dict[str, _Keys]
    ConsumedCapacity: list[dict[str, Any]]


class _Done(TypedDict, total=False):
    Id: str


class _Failed(TypedDict, total=False):
    Id: str
    Code: str
    Message: str
    SenderFault: bool


class _Entries(TypedDict, total=False):
    Successful: list[_Done]
    Failed: list[_Failed]


class _Message(TypedDict, total=False):
    MessageId: str
    ReceiptHandle: str
    Body: str
    Attributes: dict[str, str]


class _Messages(TypedDict, total=False):
    Messages: list[_Message]


DECODERS: Final[dict[tuple[str, str], msgspec.json.Decoder[Any]]] = {
    ("sqs", "SendMessageBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "DeleteMessageBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "ChangeMessageVisibilityBatch"): msgspec.json.Decoder(_Entries),
    ("sqs", "ReceiveMessage"): msgspec.json.Decoder(_Messages),
    ("dynamodb", "BatchExecuteStatement"): msgspec.json.Decoder(_Statements),
    ("dynamodb", "BatchGetItem"): msgspec.json.Decoder(_Rows),
}
"""The hot calls, and what their replies are read by: what kon has no use for is left out."""


def decode(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """Raises msgspec.DecodeError for what is not a reply of this operation."""
    reply: dict[str, Any] = DECODERS[service, operation].decode(body) if body else {}
    return reply

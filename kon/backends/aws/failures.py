"""Amazon's errors in kon's words."""

from __future__ import annotations

import re
from typing import Any, Final

from botocore import exceptions
from botocore.parsers import ResponseParserError

from kon.core.errors import (
    BackendDenied,
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    KonError,
)

_BUSY: Final = frozenset(
    [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "TransactionInProgressException",
        "ThrottlingError",
        "KmsThrottled",
        "OverLimit",
    ]
)
_CHANGING: Final = frozenset(
    [
        "OperationAborted",
        "LimitExceededException",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "ConcurrentAccess",
    ]
)
"""Another change of the same thing, or too many changes at a time: the same call goes well a while later."""

_DOWN: Final = frozenset(
    [
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerErrorException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
    ]
)
DENIED: Final = frozenset(
    [
        "AccessDenied",
        "AccessDeniedException",
        "AccessDeniedFault",
        "UnauthorizedOperation",
        "AuthorizationError",
        "AllAccessDisabled",
        "NotAuthorized",
    ]
)
ADD_THE_ACTION: Final = (
    "Add the action to the policy of these credentials (docs/aws.md has a whole one) and run the same "
    "command again"
)
SIGN_IN: Final = "Sign in again, or check AWS_PROFILE and the keys in the environment"
_SKEWED: Final = frozenset(["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"])
BAD_CREDENTIALS: Final = frozenset(
    [
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "ExpiredToken",
        "InvalidToken",
        "ExpiredTokenException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "AuthFailure",
        "InvalidSecurity",
        "OptInRequired",
        "NotSignedUp",
        "TokenRefreshRequired",
    ]
)
_NOT_THERE: Final = frozenset(
    [
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "TableNotFoundException",
        "NoSuchBucket",
    ]
)
_MAY_PASS: Final = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    ResponseParserError,  # a page of some proxy's, in place of an answer
    exceptions.IncompleteReadError,
    exceptions.MetadataRetrievalError,
    OSError,
)
_NO_CREDENTIALS: Final = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.NoAuthTokenError,
    exceptions.TokenRetrievalError,
    exceptions.UnknownCredentialError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.CredentialRetrievalError,
    exceptions.InvalidConfigError,
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.MissingDependencyException,
)
_NO_REGION: Final = (
    exceptions.NoRegionError,
    exceptions.InvalidRegionError,
    exceptions.UnknownRegionError,
    exceptions.UnknownEndpointError,
)
_RESOURCE: Final = re.compile(r"on resource: (\S+)")
_ACTION: Final = re.compile(r"not authorized to perform: ([\w:*-]+)")
_CLOCK_IN_TEXT: Final = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)


class CallRefused(BackendRefused):
    """A service's answer that is an error and will stay one.

    code, status: the service's own word for it, and HTTP's number.
    response: the answer as botocore parsed it.
    """

    def __init__(self, message: str, code: str, status: int, response: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.response = response

    @property
    def not_there(self) -> bool:
        """Whether the queue, table or bucket is missing."""
        return self.code in _NOT_THERE


class CallDenied(CallRefused, BackendDenied):
    """A service's answer that it takes nothing of the kind from these credentials."""


def in_kons_words(error: BaseException, service: str, operation: str, resource: str) -> KonError | None:
    """The error to be raised for one of boto3's; None for one that is a fault of kon's own.

    resource: the queue, table or bucket that the call was about, or "".
    """
    if isinstance(error, exceptions.ClientError):
        return _answered(error, service, operation, resource)
    if _is_of_the_host(error):
        return BackendUnavailable(
            f"this host's metadata service gives no credentials ({_one_line(error)}). Where this lasts, "
            "check that the host has an instance profile with a role"
        )
    if isinstance(error, EOFError) and operation:
        return BackendDenied(
            "the AWS profile asks for an MFA code, and there is no terminal to ask at, as for a worker. "
            "Nothing was changed. Take passing credentials first: "
            'eval "$(aws configure export-credentials --format env)"'
        )
    if isinstance(error, _NO_CREDENTIALS):
        return BackendDenied(
            f"no AWS credentials that can be used ({_one_line(error)}). Nothing was changed. Set "
            "AWS_PROFILE, sign in by `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. "
            "Where `aws` itself can sign in, `aws configure export-credentials --format env` prints these"
        )
    if isinstance(error, _NO_REGION):
        return BackendRefused(
            f"no AWS region that can be used ({_one_line(error)}). Set AWS_DEFAULT_REGION, or the option "
            "`region` of the backend aws"
        )
    if isinstance(error, _MAY_PASS):
        return BackendUnavailable(
            f"{_name(service)} does not answer {operation}: {_one_line(error)[:300]}. Where this lasts, "
            "check the network, the region and AWS_ENDPOINT_URL"
        )
    if isinstance(error, ValueError) and "Invalid endpoint" in str(error):
        return ConfigurationError(f"{_one_line(error)}; check AWS_ENDPOINT_URL and its like")
    if isinstance(error, exceptions.BotoCoreError):  # whatever else it has to say of its settings
        return BackendRefused(
            f"boto3 can't call {_name(service)} ({type(error).__name__}: {_one_line(error)}). Check the AWS "
            "settings in the environment and in ~/.aws/config, and run the same command again"
        )
    return None


def _is_of_the_host(error: BaseException) -> bool:
    """Whether the metadata service of a host or a container failed, which may pass."""
    return isinstance(error, exceptions.CredentialRetrievalError) and any(
        word in str(error) for word in ("iam-role", "container-role", "instance metadata")
    )


_THING: Final = {"sqs": "queue", "dynamodb": "table", "s3": "bucket"}


def _answered(error: exceptions.ClientError, service: str, operation: str, resource: str) -> KonError:
    response: dict[str, Any] = error.response
    details = response.get("Error", {})
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code, text = str(details.get("Code", "")), _one_line(details.get("Message", ""))
    name = _name(service)
    about = f" on {resource}" if resource else ""
    if code in _BUSY:
        return BackendUnavailable(f"{name} is asked for too much at a time ({operation}{about}: {code})")
    if code in _CHANGING:
        return BackendUnavailable(f"{name} is still busy with another change ({operation}{about}: {code})")
    if code in _DOWN or status >= 500:
        return BackendUnavailable(f"{name} is in trouble ({operation}{about}: {code or status} {text})")

    if denied := _denied(code, text, status, service, operation, resource):
        return CallDenied(denied, code, status, response)

    def refused(message: str) -> CallRefused:
        return CallRefused(message, code, status, response)

    if status == 301 or code in (
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    ):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", "another region")
        return refused(
            f"{name} refuses {operation}{about}, as that is in {region}. Set AWS_DEFAULT_REGION, or the "
            "option `region` of the backend aws, or choose another `prefix`"
        )
    if code in _NOT_THERE:
        thing = f"{_THING.get(service, 'thing')} as {resource}" if resource else _THING.get(service, "thing")
        return refused(
            f"{name} has no such {thing} ({operation}): "
            "it was deleted, never made, or is in another region or account. What was answered before is kept"
        )
    return refused(f"{name} refuses {operation}{about}: {code or status} {text}".rstrip())


def _denied(code: str, text: str, status: int, service: str, operation: str, resource: str) -> str:
    """What to do, where the service refuses whoever asks; nothing where it refuses for another reason."""
    name = _name(service)
    if code in _SKEWED or (code in BAD_CREDENTIALS and _CLOCK_IN_TEXT.search(text)):
        return (
            f"{name} refuses {operation} as this host's clock is wrong ({text or code}). Set the clock, "
            "for example by `timedatectl set-ntp true`, and run the same command again"
        )
    if code in BAD_CREDENTIALS:
        return f"{name} does not accept the AWS credentials ({code}: {text}). {SIGN_IN}"
    # S3 says 403 alone to a HEAD
    if code in DENIED or (status == 403 and code in ("403", "Forbidden")):
        action = match[1] if (match := _ACTION.search(text)) else _action(service, operation)
        where = match[1] if (match := _RESOURCE.search(text)) else resource
        whose = f" on {where}" if where else ""
        if service == "s3" and match is None:  # S3 says no word of why
            whose += f", or the bucket {resource} is another account's"
        return f"these AWS credentials may not call {action}{whose}. {ADD_THE_ACTION}"
    return ""


_ACTIONS: Final = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}
"""Rights that are not called as the calls that need them."""


def _action(service: str, operation: str) -> str:
    """The right that a call needs, where the answer does not name it."""
    return f"{service}:{_ACTIONS.get(operation, operation)}"


_NAMES: Final = {"sqs": "SQS", "dynamodb": "DynamoDB", "s3": "S3", "sts": "STS"}


def _name(service: str) -> str:
    return _NAMES.get(service, service)


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".")

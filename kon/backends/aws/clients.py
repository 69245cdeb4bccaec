"""boto3's clients, with what they send counted and billed.

They are made by botocore, which boto3 is a layer on: each worker's start costs a tenth less without that
layer. botocore keeps its own chain: profile, SSO, the instance's role (IMDSv2), region, AWS_ENDPOINT_URL and
its likes for single services. Whoever calls knows nothing of whether Amazon or an emulator answers.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any, Final

import botocore.config
import botocore.loaders
import botocore.session
from botocore import xform_name

from kon.backends.aws.billing import Meter

ATTEMPTS: Final = 5
"""Attempts that botocore makes, with jitter; whoever calls may be patient beyond (kon.engine.patience)."""


S3_LINKS: Final = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
"""Links then name the bucket's region. botocore signs for the global endpoint otherwise: that answers 400 for
newer regions, and for others 307 to a host that the link is not signed for. An endpoint that is an IP address
gets paths all the same."""

_METADATA: Final = {"metadata_service_num_attempts": 5, "metadata_service_timeout": 2}
"""How often an EC2 host's metadata service is asked for credentials, and how long each time, in seconds.

botocore asks once for a second, so that one missed answer ends a worker. AWS_METADATA_SERVICE_NUM_ATTEMPTS
and AWS_METADATA_SERVICE_TIMEOUT say otherwise."""


class _Now(threading.local):
    """What this thread's call is about, for the hooks. show: it is not to be sent."""

    parameters: Mapping[str, Any] = {}
    fifo = False
    show = False


class _Shown(Exception):
    """Comes in place of a reply, where a request was only to be shown."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


class Clients:
    """Clients of one account and region, made when they are first needed. For any thread.

    region: None leaves it to boto3's own settings. connections: that a client keeps open, at most.
    """

    def __init__(self, region: str | None, meter: Meter, connections: int) -> None:
        self._region = region
        self._meter = meter
        self._connections = connections
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()
        self._now = _Now()
        self.owners: dict[str, str] = {}
        """The accounts that buckets have to be of, by their names."""

    def get(self, service: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            with self._making:
                client = self._clients.get(service)
                if client is None:
                    client = self._clients[service] = self._new(service)
        return client

    @property
    def session(self) -> Any:
        """botocore's session, which the clients come from. There is one once a client has been asked for."""
        return self._session

    def about(self, parameters: Mapping[str, Any], fifo: bool) -> None:
        """What this thread's next call is about. fifo: whether it is billed as one to a FIFO queue."""
        self._now.parameters, self._now.fifo = parameters, fifo

    def show(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        """The request that botocore would send, signed and whole (an AWSPreparedRequest); it is not sent."""
        client, self._now.show = self.get(service), True
        try:
            getattr(client, xform_name(operation))(**parameters)
        except _Shown as shown:
            return shown.request
        finally:
            self._now.show = False
        raise AssertionError(f"{operation} was answered, and was not to be sent")

    def close(self) -> None:
        """Let go of all; they are made again when they are needed."""
        with self._making:
            clients, self._clients = list(self._clients.values()), {}
            self._session = None
        for client in clients:
            client.close()

    def _new(self, service: str) -> Any:
        if self._session is None:
            self._session = _session()
        client = self._session.create_client(
            service,
            region_name=self._region,
            config=botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=self._connections,
                connect_timeout=5,
                read_timeout=40,  # a long poll takes 20 s
                tcp_keepalive=True,
                parameter_validation=False,
                # botocore signs links the old way where it is not told otherwise
                signature_version="s3v4" if service == "s3" else None,
                s3=S3_LINKS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        if service == "s3":
            expect_owners(client, self.owners)
        client.meta.events.register_first("before-send", self._before_send)
        client.meta.events.register_first("response-received", self._response_received)
        return client

    def _before_send(self, request: Any, event_name: str, **_: Any) -> None:
        if self._now.show:
            raise _Shown(request)
        _event, service, operation = event_name.split(".")
        size_bytes = int(request.headers.get("Content-Length") or 0)
        self._meter.sent(service, operation, self._now.fifo, request.method, size_bytes)

    def _response_received(
        self,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        event_name: str,
        **_: Any,
    ) -> None:
        if response_dict is None:
            return  # none came
        _event, service, operation = event_name.split(".")
        body = response_dict.get("body")
        length = response_dict["headers"].get("content-length")
        size_bytes = len(body) if isinstance(body, bytes) else int(length or 0)
        self._meter.answered(
            service,
            operation,
            self._now.fifo,
            size_bytes,
            self._now.parameters,
            parsed_response or {},
        )


def expect_owners(client: Any, owners: Mapping[str, str]) -> None:
    """Have each call of a client of S3 name the account that the bucket must be of. owners: by bucket.

    A link is opened by somebody who sets no header, so that it says nothing of the owner.
    """

    def add(params: Mapping[str, Any], model: Any, context: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        owner = owners.get(params.get("Bucket", ""))
        if owner is None or context.get("is_presign_request") or model.name == "CreateBucket":
            return params
        return {"ExpectedBucketOwner": owner, **params}

    client.meta.events.register("provide-client-params.s3", add)


def _session() -> Any:
    """botocore's session, with its own chain of settings. Descriptions of services are read from disk once
    for the process: that takes most of a client's making."""
    session = botocore.session.Session()
    for name, value in _METADATA.items():
        if session.get_config_variable(name) == 1:  # which is botocore's own default for both
            session.set_config_variable(name, value)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _loader(data_path: str | None) -> Any:
    return botocore.loaders.create_loader(data_path)

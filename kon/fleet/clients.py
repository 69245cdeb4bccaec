"""boto3's clients of one region, made when first needed, and errors in kon's words."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import boto3
import botocore.exceptions
import botocore.parsers
from botocore.config import Config

from kon.backends.aws.clients import S3_LINKS, expect_owners
from kon.backends.aws.failures import ADD_THE_ACTION, BAD_CREDENTIALS, DENIED, SIGN_IN
from kon.core.errors import BackendRefused
from kon.fleet.thing import PROJECT

_CONFIG: Final = Config(
    retries={"mode": "standard", "max_attempts": 8}, connect_timeout=10, read_timeout=60, s3=S3_LINKS
)

_Answer = TypeVar("_Answer")

_ASKS: Final = 10

_making: Final = threading.Lock()


UNREACHED: Final = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.parsers.ResponseParserError,
)
"""What botocore raises where nobody answers, the answer breaks off, or it is a page of some proxy's."""


class Clients:
    """region: of all of them; None for boto3's own. For any thread.

    session: one for all regions; it reads the description of each service once, which is most of the work.
    """

    def __init__(self, region: str | None, session: boto3.Session | None = None) -> None:
        self._session = session or boto3.Session()
        self._made: dict[str, Any] = {}
        self.owners: dict[str, str] = {}
        """The accounts that buckets have to be of, by their names."""
        self.region: Final[str] = str(region or self._session.region_name)
        self._region = region
        self.troubles: list[str] = []
        """What could not be asked, so that nobody knows whether it is kon's."""
        self._strange: Counter[str] = Counter()

    def __call__(self, service: str) -> Any:
        with _making:  # sessions know no threads
            if service not in self._made:
                config = _CONFIG.merge(Config(signature_version="s3v4")) if service == "s3" else _CONFIG
                client = self._session.client(service, region_name=self._region, config=config)
                if service == "s3":
                    expect_owners(client, self.owners)
                self._made[service] = client
            return self._made[service]

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """All entries of a listing, over all of its pages. operation: as the client's method is called."""
        client = self(service)
        if client.can_paginate(operation):
            for page in client.get_paginator(operation).paginate(**parameters):
                yield from page.get(key) or ()
        else:
            yield from getattr(client, operation)(**parameters).get(key) or ()

    def ask(self, about: str, call: Callable[[], _Answer]) -> _Answer | None:
        """What the call answers of one thing among many; None where it has gone meanwhile, or its service
        refuses or can't be reached: `troubles` says so, and the others are asked all the same."""
        return self._try(about, call)[0]

    def tags(
        self, about: str, call: Callable[[], _Answer], read: Callable[[_Answer], dict[str, str]]
    ) -> dict[str, str] | None:
        """The tags of one thing among many, as `ask` has them; None too where it is a stranger."""
        if self.is_strange(about):
            return None
        answer, is_known = self._try(about, call)
        tags = None if answer is None else read(answer)
        if is_known and (tags or {}).get("Project") != PROJECT:
            self._strange[about] += 1  # S3 says of a bucket without tags that they are not there
        return tags

    def _try(self, about: str, call: Callable[[], _Answer]) -> tuple[_Answer | None, bool]:
        """The answer, and whether there was one, if only that it is gone."""
        try:
            return call(), True
        except botocore.exceptions.ClientError as error:
            if is_gone(error):
                return None, True
            self.troubles.append(f"{about}: {said_by(error)}")
        except UNREACHED as error:
            self.troubles.append(f"{about}: {unreached(error)}")
        return None, False

    def is_strange(self, about: str) -> bool:
        """Whether ten looks found no tag of kon's: Amazon shows the tags of a new thing some seconds late.

        An account has hundreds of things without such tags, and kon looks each second, for minutes.
        """
        return self._strange[about] >= _ASKS

    def close(self) -> None:
        for client in self._made.values():
            client.close()


def code_of(error: botocore.exceptions.ClientError) -> str:
    code: str = error.response.get("Error", {}).get("Code", "")
    return code


def unreached(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"AWS can't be asked, is there a network? {said[:300]}"


_GONE: Final = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist")


def is_gone(error: botocore.exceptions.ClientError) -> bool:
    """Whether what was asked about is not there any more."""
    return any(word in code_of(error) for word in _GONE)


def said_by(error: botocore.exceptions.ClientError) -> str:
    """A refusal in a line: the call, its code, and the service's words."""
    said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
    return f"AWS refuses {error.operation_name}: {code_of(error)}: {said}"


def in_kons_words(call: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: botocore's errors become KonErrors that say what to do."""

    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
            raise BackendRefused(
                f"no credentials for AWS ({error}); set AWS_PROFILE, or call `aws configure`"
            ) from error
        except botocore.exceptions.ProfileNotFound as error:
            raise BackendRefused(
                f"AWS_PROFILE is {os.environ.get('AWS_PROFILE')!r}: {error}. Unset it, or name one of "
                "`aws configure list-profiles`"
            ) from error
        except botocore.exceptions.NoRegionError as error:
            raise BackendRefused("no region for AWS: set AWS_DEFAULT_REGION") from error
        except botocore.exceptions.ClientError as error:
            mend = f". {ADD_THE_ACTION}" if code_of(error) in DENIED else ""
            session_over = "RequestExpired"  # EC2's word
            if code_of(error) in {*BAD_CREDENTIALS, session_over}:
                mend = f". {SIGN_IN}"
            raise BackendRefused(f"{said_by(error)}{mend}") from error
        except UNREACHED as error:
            raise BackendRefused(unreached(error)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise BackendRefused(f"AWS can't be asked: {error}") from error

    return wrapped

"""What botocore knows and the lean client asks for: credentials as they are now, proxies and certificates.

botocore renews the credentials. Where it would go by a proxy, or check no certificates, the call is its own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from kon.backends.aws.lean.connections import Submit
from kon.backends.aws.lean.form import Unusual
from kon.backends.aws.lean.signing import Keys

_LOOK_S: Final = 1.0
"""So often they are asked whether they want to be renewed, which they do minutes ahead."""


class KeyRing:
    """credentials: of botocore's own kinds. Raises Unusual for others, and NoCredentialsError."""

    def __init__(self, credentials: Any, submit: Submit) -> None:
        if credentials is None:
            raise NoCredentialsError
        if type(credentials) is not Credentials and not isinstance(credentials, RefreshableCredentials):
            raise Unusual(f"credentials are a {type(credentials).__name__}")
        self._credentials = credentials
        self._submit = submit
        self._keys: Keys | None = None
        self._look_s = 0.0

    async def keys(self) -> Keys:
        """Those to sign with now. Raises what botocore raises where they can't be renewed."""
        now_s = time.monotonic()
        if self._keys is not None and now_s < self._look_s:
            return self._keys
        if self.renewal_due:
            keys: Keys = await asyncio.wrap_future(self._submit(self.frozen))
        else:
            keys = self.frozen()
        self._keys, self._look_s = keys, now_s + _LOOK_S
        return keys

    @property
    def renewal_due(self) -> bool:
        """Whether `frozen` would ask someone."""
        credentials = self._credentials
        return isinstance(credentials, RefreshableCredentials) and bool(credentials.refresh_needed())

    def frozen(self) -> Keys:
        """May block."""
        frozen = self._credentials.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or None)


def check_no_proxy(url: str) -> None:
    """Raise Unusual where botocore would go to this URL by a proxy."""
    if get_environ_proxies(url).get(urlsplit(url).scheme):
        raise Unusual(f"there is a proxy for {urlsplit(url).hostname}")


def tls_context(session: Any) -> ssl.SSLContext:
    """Trusts those that botocore trusts: AWS_CA_BUNDLE or its setting in the profile, REQUESTS_CA_BUNDLE, or
    the bundle that botocore brings. Raises Unusual."""
    chosen = session.get_config_variable("ca_bundle")
    if chosen is None:
        chosen = os.environ.get("REQUESTS_CA_BUNDLE", True)
    if not chosen:
        raise Unusual("certificates are not to be checked")
    where = get_cert_path(chosen)
    try:
        if Path(where).is_dir():
            return ssl.create_default_context(capath=where)
        return ssl.create_default_context(cafile=where)
    except OSError as error:
        raise Unusual(f"the certificates in {where} can't be read ({error})") from error

"""Proxies and certificates: what botocore would do about them for an endpoint, or that this can't be done."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from kon.backends.aws.lean.form import Unusual


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

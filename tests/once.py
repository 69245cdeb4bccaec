"""What botocore works out again for each session and client is worked out once for all of them here.

Tests make hundreds of clients, each with the methods of its service: EC2 has 750.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.client
import botocore.hooks
import botocore.loaders
import botocore.session
import botocore.useragent
import pytest


def work_out_once(patch: pytest.MonkeyPatch) -> None:
    """Clients do as they do otherwise: all of this depends on the names of services and events alone."""
    loader = botocore.loaders.create_loader()  # S3's description alone takes 50 ms to parse, EC2's 200
    patch.setattr(botocore.session, "create_loader", lambda *args: loader)
    for name in ("_create_methods", "_create_name_mapping"):
        patch.setattr(botocore.client.ClientCreator, name, _by_service(name))
    patch.setattr(botocore.hooks.EventAliaser, "_alias_event_name", _by_event())
    sanitize = "sanitize_user_agent_string_component"
    patch.setattr(botocore.useragent, sanitize, cache(getattr(botocore.useragent, sanitize)))


def _by_service(name: str) -> Any:
    known: dict[str, dict[str, Any]] = {}
    work_out = getattr(botocore.client.ClientCreator, name)

    def found(creator: Any, model: Any) -> dict[str, Any]:
        if model.service_name not in known:
            known[model.service_name] = work_out(creator, model)
        return dict(known[model.service_name])  # which sessions add methods of their own to

    return found


def _by_event() -> Any:
    known: dict[str, str] = {}
    work_out = botocore.hooks.EventAliaser._alias_event_name

    def found(aliaser: Any, event: str) -> str:
        if event not in known:
            known[event] = work_out(aliaser, event)
        return known[event]

    return found

"""Fixture: Ansible, started once for the plays of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.playbooks.plays import Ansible


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    ansible = Ansible(tmp_path_factory.mktemp("ansible"))
    yield ansible
    ansible.close()

"""The command that adds an extra: by the program that installed kon, from where kon was had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kon.core.distribution import _installer, _wanted, install


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ({}, "'cloudkon[live]'"),
        ({"url": "file:///my%20kon", "dir_info": {"editable": True}}, "-e '/my kon[live]'"),
        ({"url": "file:///kon", "dir_info": {}}, "'cloudkon[live] @ file:///kon'"),
        (
            {"url": "https://example.com/kon", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "'cloudkon[live] @ git+https://example.com/kon'",
        ),
        # file:///kon would be built in that folder, which is another's, or a repository without files
        ({"url": "file:///kon", "vcs_info": {"vcs": "git"}}, "'cloudkon[live] @ git+file://localhost/kon'"),
        (
            {"url": "https://host/kon", "vcs_info": {"vcs": "git", "requested_revision": "v1"}},
            "'cloudkon[live] @ git+https://host/kon@v1'",
        ),
        ({"url": "file:///c.whl", "archive_info": {}}, "'cloudkon[live] @ file:///c.whl'"),
    ],
)
def test_an_extra_comes_from_where_kon_was_had(origin: dict[str, Any], wanted: str) -> None:
    assert _wanted(origin, "live") == wanted


@pytest.mark.parametrize(
    ("prefix", "installer"),
    [
        ("/home/me/.local/share/pipx/venvs/cloudkon", "pipx install --force"),
        ("/home/me/.local/share/uv/tools/cloudkon", "uv tool install --force"),
        ("/home/me/kon/.venv", "pip install"),
        ("/usr", "pip install"),
    ],
)
def test_it_comes_by_the_program_that_installed_kon(prefix: str, installer: str) -> None:
    assert _installer(Path(prefix)) == installer


def test_in_this_checkout() -> None:
    """`cloudkon` by its name would be looked for on the package index."""
    assert install("live") == f"pip install -e '{Path(__file__).parents[2]}[live]'"

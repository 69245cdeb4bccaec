"""The page about notebooks, cell by cell in a kernel of Jupyter's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from tests.docs.blocks import PROJECT, blocks

CELLS = [block.text for block in blocks(PROJECT / "docs" / "notebook.md") if block.language == "py"]
LIMIT_S = 100.0
SHOWN = ("stream", "display_data", "update_display_data", "execute_result", "error")


class Notebook:
    """A kernel, and what its cells show."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, cell: str) -> list[dict[str, Any]]:
        """The messages of one cell that show something: a stream, a display or its update, or an error."""
        shown: list[dict[str, Any]] = []
        self._client.execute_interactive(cell, timeout=LIMIT_S, output_hook=shown.append)
        return [{"type": each["msg_type"], **each["content"]} for each in shown if each["msg_type"] in SHOWN]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    place = tmp_path_factory.mktemp("notebook")
    env = {**os.environ, "IPYTHONDIR": str(place / "ipython"), "JUPYTER_RUNTIME_DIR": str(place / "runtime")}
    manager, client = start_new_kernel(startup_timeout=LIMIT_S, cwd=str(place), env=env)
    yield Notebook(client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.long
def test_the_page_runs_as_it_stands(notebook: Notebook) -> None:
    assert len(CELLS) == 4
    for cell in CELLS:
        shown = notebook.run(cell)
        assert not [each for each in shown if each["type"] == "error"], shown


@pytest.mark.long
def test_progress_is_one_line_that_changes(notebook: Notebook) -> None:
    shown = notebook.run(
        "import kon; kon.map('sleep 0.3; echo {}', range(4), backend='memory', workers=1, progress=True);"
    )
    first, *others = [each for each in shown if each["type"] != "execute_result"]
    assert first["type"] == "display_data"
    assert {each["type"] for each in others} == {"update_display_data"}
    assert {each["transient"]["display_id"] for each in others} == {first["transient"]["display_id"]}
    assert others[-1]["data"]["text/plain"].startswith("4/4, ")


def test_what_functions_print_is_shown_below_the_cell(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "speaking.py").write_text("def says(item):\n    print('said', item)\n    return item\n")
    shown = notebook.run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import kon, speaking\n"
        "assert kon.map(speaking.says, [7], workers=1, progress=True) == [7]"
    )
    assert "".join(each["text"] for each in shown if each["type"] == "stream") == "said 7\n"


def test_a_function_of_a_cell_is_refused_by_map_and_told_what_takes_it(notebook: Notebook) -> None:
    [error] = notebook.run("import kon\nkon.map(lambda item: item, [1])")
    assert error["ename"] == "ConfigurationError"
    assert "kon.Executor" in error["evalue"]

"""Plug-ins by name, or as module:Class."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kon.backends.memory import MemoryBackend
from kon.backends.sqlite import SqliteBackend
from kon.core import plugins
from kon.core.backend import Backend
from kon.core.errors import UnknownPlugin
from kon.core.kind import Kind
from kon.core.plugins import backend_class, kind_class, names, open_backend, strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import Strategy
from kon.kinds.sleep import Sleep
from kon.strategies.lease import Lease


def test_registered_names() -> None:
    assert strategy_class("lease") is Lease
    assert kind_class("sleep") is Sleep
    assert backend_class("memory") is MemoryBackend
    assert {"none", "read_then_write", "conditional_put", "lease", "result_once"} <= set(
        names("kon.strategies")
    )
    assert {"sleep", "shell", "python", "stats"} <= set(names("kon.kinds"))
    assert {"memory", "sqlite"} <= set(names("kon.backends"))


@pytest.mark.parametrize("group", ["kon.strategies", "kon.kinds", "kon.backends"])
def test_everything_that_is_registered_loads_and_bears_its_name(group: plugins.Group) -> None:
    finders: dict[plugins.Group, Callable[[str], type[Strategy] | type[Kind] | type[Backend]]] = {
        "kon.strategies": strategy_class,
        "kon.kinds": kind_class,
        "kon.backends": backend_class,
    }
    find = finders[group]
    for name in names(group):
        assert find(name).name == name


def test_module_and_class() -> None:
    assert strategy_class("kon.strategies.lease:Lease") is Lease
    assert backend_class("kon.backends.memory:MemoryBackend") is MemoryBackend


def test_an_unknown_name_gets_the_names_that_are_known() -> None:
    with pytest.raises(UnknownPlugin) as caught:
        strategy_class("Leese")
    assert str(caught.value) == (
        'unknown strategy "Leese", did you mean "lease"? (known: '
        f"{', '.join(names('kon.strategies'))}, or your own as module:Class)"
    )
    with pytest.raises(UnknownPlugin, match=r'unknown backend "zzz" \(known: aws, memory, '):
        backend_class("zzz")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to write plug-ins into, the current one; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_current_folder_is_searched_last_and_only_for_the_look_up(own: Path) -> None:
    (own / "mine.py").write_text(
        "from kon.strategies.lease import Lease\nclass Mine(Lease):\n    name = 'mine'\n"
    )
    (own / "strategies").mkdir()
    (own / "strategies" / "lease.py").write_text("raise RuntimeError('hides the real one')")
    before = list(sys.path)
    assert issubclass(strategy_class("mine:Mine"), Lease)
    assert sys.path == before


def test_backends_come_from_installed_packages_only(own: Path) -> None:
    (own / "my_backend.py").write_text("from kon.backends.memory import MemoryBackend as Mine\n")
    with pytest.raises(UnknownPlugin, match=r'there is no module "my_backend" among the installed packages$'):
        backend_class("my_backend:Mine")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nowhere_at_all", "importing \"own\" failed: No module named 'nowhere_at_all'"),
        ("1 / 0", 'importing "own" failed: ZeroDivisionError: division by zero'),
        ("class Own(", 'importing "own" failed: SyntaxError: '),
        ("import sys; sys.exit('bye')", 'importing "own" failed: SystemExit: bye'),
        ("", 'the module "own" has no "Own"'),
        ("from kon.strategies.none import NoDeduplication as Onw", 'has no "Own"$'),
        (
            "from kon.core.strategy import Strategy\nclass Owm(Strategy): ...",
            'has no "Own", did you mean "Owm"?',
        ),
        ("Own = 5", "own:Own is not a class derived from kon.core.strategy.Strategy"),
        ("class Own: ...", "own:Own is not a class derived from kon.core.strategy.Strategy"),
        (
            "from kon.kinds.sleep import Sleep as Own",
            "own:Own is not a class derived from kon.core.strategy.Strategy",
        ),
        (
            "from kon.core.strategy import Strategy\nclass Own(Strategy): ...",
            "own:Own is abstract; it still lacks admit, commit",
        ),
    ],
)
def test_a_plugin_that_cant_be_used(source: str, problem: str, own: Path) -> None:
    (own / "own.py").write_text(source)
    with pytest.raises(UnknownPlugin) as caught:
        strategy_class("own:Own")
    assert str(caught.value).startswith('strategy "own:Own": ')
    if problem.endswith("$"):
        assert str(caught.value).endswith(problem[:-1])
    else:
        assert problem in str(caught.value)


def test_a_module_that_is_not_there(own: Path) -> None:
    with pytest.raises(UnknownPlugin) as caught:
        kind_class("no.where:Kind")
    assert str(caught.value) == (
        f'kind "no.where:Kind": there is no module "no" among the installed packages, nor in {own}'
    )


@pytest.mark.parametrize(
    "name", ["a:", ":b", "a b:c", "a:b:c", "../a:b", "a:b-c", "a.:b", "a:__import__('os')"]
)
def test_what_is_no_reference(name: str) -> None:
    with pytest.raises(UnknownPlugin, match="expected module:Class, such as "):
        strategy_class(name)


def test_a_name_that_two_packages_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = {"lease": ["kon.strategies.lease:Lease", "other:Lease"]}
    monkeypatch.setattr(plugins, "_registered", lambda group: claims)
    with pytest.raises(
        UnknownPlugin, match=r"registered more than once: kon\.strategies\.lease:Lease, other:Lease"
    ):
        strategy_class("lease")


def test_a_kon_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", lambda group: {})
    with pytest.raises(
        UnknownPlugin, match=r"none is registered at all, so kon is not installed in .*`make setup`"
    ):
        strategy_class("lease")


def test_a_backend_that_keeps_files_gets_the_folder_of_the_runs(tmp_path: Path) -> None:
    assert isinstance(open_backend(Plugin("sqlite"), tmp_path), SqliteBackend)
    assert isinstance(open_backend(Plugin("memory"), tmp_path), MemoryBackend)

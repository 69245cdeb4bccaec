"""From a function to the reference by which a worker, in another process, finds it again."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

from kon.core.errors import ConfigurationError
from kon.kinds import callee
from kon.kinds.reference import FROM_FILE

_MEND: Final = (
    "define it with `def` at the top level of a module or script, and pass that. "
    "kon.Executor takes any function"
)


def reference_of(function: Callable[..., Any], caller: str) -> str:
    """`module:name` or `path/to/script.py:name`. Raises ConfigurationError for what no worker could find."""
    module_name, qualname = _names(function)
    if module_name is None or qualname is None:
        raise ConfigurationError(
            f"{caller}: expected a function, found {function!r:.80}, which has no name that workers, in "
            f"processes of their own, could import; {_MEND}"
        )
    shown = f"{module_name}.{qualname}"
    if "<lambda>" in qualname:
        raise ConfigurationError(f"{caller}: {shown} has no name that workers could import; {_MEND}")
    if "<locals>" in qualname:
        raise ConfigurationError(
            f"{caller}: {shown} is defined inside a function, where workers, in processes of their own, "
            f"can't find it; {_MEND}"
        )
    module = sys.modules.get(module_name)
    _check_reachable(function, module, qualname, caller)
    is_file = module_name == "__main__" or module_name.startswith(FROM_FILE)  # the latter in a worker
    place = _script(module, shown, caller) if is_file else module_name
    return f"{place}:{qualname}"


def _names(function: Callable[..., Any]) -> tuple[str | None, str | None]:
    if isinstance(function, functools.partial):
        return None, None
    owner = getattr(function, "__objclass__", None)  # of a method of a built-in type, such as str.upper
    module = getattr(function, "__module__", None) or getattr(owner, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    return module, qualname


def _check_reachable(
    function: Callable[..., Any], module: ModuleType | None, qualname: str, caller: str
) -> None:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not function:
        name = f"{module.__name__ if module else '?'}.{qualname}"
        what = "nothing" if found is None else "something else"
        raise ConfigurationError(
            f"{caller}: {function!r:.80} calls itself {name}, and there is {what} under that name, so that "
            f"workers would not find it; {_MEND}"
        )


def _script(module: ModuleType | None, shown: str, caller: str) -> str:
    """How a worker finds what the running program itself defines."""
    spec = getattr(module, "__spec__", None)
    if spec is not None and not str(spec.name).startswith(FROM_FILE):  # started by `python -m`
        return str(spec.name)
    file = getattr(module, "__file__", None)
    if file is None:
        raise ConfigurationError(
            f"{caller}: {shown} was typed into an interactive session or a notebook, where workers, in "
            "processes of their own, can't read it. kon.Executor hands it over as it is. Or save it in a "
            "file, mine.py for example, and pass it as `from mine import ...`"
        )
    path = Path(file).absolute()
    if path.suffix != ".py" or not path.is_file():
        raise ConfigurationError(
            f"{caller}: {shown} stands in {file}, which workers can't import: it is not a file whose name "
            "ends in .py. Put the function into a module of its own, and import it from there"
        )
    return str(path)


def import_path() -> list[str]:
    """The folders and archives that this program imports from beyond those of Python itself; its workers need
    them too."""
    own = {str(Path(place).resolve()) for place in sysconfig.get_paths().values()}
    folders = [Path(entry or ".").absolute() for entry in sys.path]
    return list(
        dict.fromkeys(
            str(folder)
            for folder in folders
            if folder.exists() and str(folder.resolve()) not in own and folder.name != "lib-dynload"
        )
    )


def refuse_import_time(caller: str) -> None:
    """Raise ConfigurationError where a worker is importing the module that makes this call.

    A script that calls kon at its top level would otherwise start itself again in each worker, and
    those workers again, without end.
    """
    if getattr(sys.modules.get("__main__"), "__file__", None) != callee.__file__:
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "<module>" and name != "__main__":
            raise ConfigurationError(
                f"{caller} was called while a worker imported {frame.f_code.co_filename} to find the "
                f'function that it is to run; put the call under `if __name__ == "__main__":` there'
            )
        frame = frame.f_back

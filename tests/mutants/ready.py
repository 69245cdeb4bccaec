"""A process that has collected tests and waits: each change is tried in a fork of it.

A start of pytest takes as long as a hundred tests, and so do kon's imports. So a change is not imported: the
fork gives the one function that it changes its new code.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import inspect
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import msgspec
import pytest

PYTEST: Final = (
    "-q",
    "-x",
    "-n",
    "0",
    "-p",
    "no:cacheprovider",
    "--timeout",
    "0",
    "-m",
    "not slow and not fleet",
)

END_S: Final = 60.0
"""How long what comes after the last test may take."""

NOT_IN_A_FUNCTION: Final = 70
"""The answer where a change is of more than a function: it must be imported."""


class Asked(msgspec.Struct):
    """file: the one that has changed. before: its text until then.

    limits_s: tests in their order, and for how long each may run.
    """

    file: str
    before: str
    limits_s: dict[str, float]


class Ready:
    """Such a process. told: where all that its tests print goes."""

    def __init__(
        self, folder: Path, tests: Sequence[str], environment: Mapping[str, str], told: Path
    ) -> None:
        their_end, our_end = os.pipe()
        our_answers, their_answers = os.pipe()
        words = [str(their_end), str(their_answers), *tests]
        with told.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.mutants.ready", *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(their_end, their_answers),
            )
        os.close(their_end)
        os.close(their_answers)
        self._asked = os.fdopen(our_end, "w", encoding="utf-8")
        self._answers = os.fdopen(our_answers, encoding="utf-8")

    def run(self, file: str, before: str, limits_s: dict[str, float]) -> int:
        """1 where a test fails, 0 where none does, or NOT_IN_A_FUNCTION.

        Below 0 the signal that ended a test, which took too long.
        """
        print(msgspec.json.encode(Asked(file, before, limits_s)).decode(), file=self._asked, flush=True)
        return int(self._answers.readline())

    def close(self) -> None:
        self._asked.close()
        self._process.wait()
        self._answers.close()


class Forks:
    """A plug-in of pytest: in place of running what is collected, it runs what it is asked for."""

    def __init__(self, asked: int, answers: int) -> None:
        for end in (asked, answers):
            os.set_inheritable(end, False)
        self._asked = os.fdopen(asked, encoding="utf-8")
        self._answers = os.fdopen(answers, "w", encoding="utf-8")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = _functions()
        gc.freeze()
        for line in self._asked:
            asked = msgspec.json.decode(line, type=Asked)
            chosen = [items[name] for name in asked.limits_s]
            print(_forked(session, asked, chosen, functions), file=self._answers, flush=True)
        return True


_Functions = Mapping[tuple[str, str], Sequence[FunctionType]]


def _functions() -> _Functions:
    """All that there are, by file and name. Getter and setter of a property have the same."""
    found: dict[tuple[str, str], list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            found[os.path.realpath(each.__code__.co_filename), each.__code__.co_qualname].append(each)
    return found


def _forked(
    session: pytest.Session, asked: Asked, chosen: Sequence[pytest.Item], functions: _Functions
) -> int:
    """In a session of its own, so that nothing of it is left."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            swapped = change(Path(asked.file).resolve(), asked.before, functions)
            code = _run(session, chosen, asked.limits_s) if swapped else NOT_IN_A_FUNCTION
            sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _run(session: pytest.Session, chosen: Sequence[pytest.Item], limits_s: Mapping[str, float]) -> int:
    """SIGALRM ends a test that takes longer than it may, and the process with it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for item, following in pairwise([*chosen, None]):
        assert item is not None
        signal.setitimer(signal.ITIMER_REAL, limits_s[item.nodeid])
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        signal.setitimer(signal.ITIMER_REAL, END_S)
        if session.testsfailed:
            session._setupstate.teardown_exact(None)
            return 1
    return 0


def change(file: Path, before: str, functions: _Functions) -> bool:
    """Give the function that has changed in a loaded module its new code. False where more has changed."""
    old, new = Parts(before, file), Parts(file.read_text(encoding="utf-8"), file)
    if old.others != new.others or len(old.functions) != len(new.functions):
        return False
    if not any(where == str(file) for where, _ in functions):
        return True  # whoever needs it imports it
    met: Counter[str] = Counter()
    for was, now in zip(old.functions, new.functions, strict=True):
        nth, met[was.co_qualname] = met[was.co_qualname], met[was.co_qualname] + 1
        if _gist(was) == _gist(now):
            continue
        named = functions.get((str(file), was.co_qualname), ())
        lines = sorted({each.__code__.co_firstlineno for each in named})
        chosen = [each for each in named if each.__code__.co_firstlineno == dict(enumerate(lines)).get(nth)]
        if not chosen:
            return False
        for each in chosen:
            each.__code__ = now
    return True


class Parts:
    """functions: the code of those that stand in no other. others: all else, to be compared."""

    def __init__(self, text: str, file: Path) -> None:
        self.functions: list[CodeType] = []
        # as a change is written, by ast.unparse: what lines statements share makes another code of a module
        self.others = self._split(compile(ast.unparse(ast.parse(text)), str(file), "exec"))

    def _split(self, code: CodeType) -> tuple[Any, ...]:
        inner: list[Any] = []
        for constant in code.co_consts:
            if not isinstance(constant, CodeType):
                inner.append(repr(constant))
            elif constant.co_flags & inspect.CO_OPTIMIZED:
                self.functions.append(constant)
            else:
                inner.append(self._split(constant))
        return code.co_code, code.co_names, inner


def _gist(code: CodeType) -> tuple[Any, ...]:
    """What makes two codes different: not their lines."""
    inner = [_gist(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_flags, inner


def main(asked: int, answers: int, tests: Sequence[str]) -> int:
    return pytest.main([*PYTEST, *tests], plugins=[Forks(asked, answers)])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))

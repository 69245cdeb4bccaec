"""`shell`: runs a command. Its result is how it ended and what it wrote."""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from kon.core.errors import ConfigurationError, KindError
from kon.core.kind import Attempt, Kind
from kon.core.objects import ObjectStore
from kon.core.options import OptionError
from kon.core.scratch import working_folder
from kon.kinds import shell_options
from kon.kinds.capture import STREAMS, Capture, WholeCapture
from kon.kinds.command import NUMBERS, Invocation, ShellProgram, Template, placeholders
from kon.kinds.live import Live
from kon.kinds.shell_options import Gate, Here, ShellOptions
from kon.kinds.spawn import Finished, Spawner, ending, signal_name
from kon.kinds.staging import Staging
from kon.kinds.start import Environment, allow

_NOT_A_PROGRAM: Final = frozenset({errno.ENOENT, errno.ENOEXEC, errno.EACCES, errno.ENOTDIR})
"""The shell may make something of such a word: a function, a script without a first line; and if
not, its message is the one that people know."""

_LONGEST_VARIABLE: Final = 32_000
"""Characters, of up to four bytes: Linux takes 128 KiB with the name."""


class Shell(Kind):
    """Runs a command, by itself or in a shell.

    The body is the item for `command`, a string or a number, or the command itself. A word that is not
    UTF-8, such as some names of files, stands there as {"bytes": "caf\\xe9"}: each character is one byte.

    The result has `exit`, `stdout` and `stderr`; after a signal `exit` is 128 plus its number, as
    shells have it. Only where they apply: `signal`, its name; `truncated`, true, with `stdout_bytes`
    and `stderr_bytes`, the true sizes; `encoding_errors`, true, where output was not UTF-8 and such
    bytes stand as `\\xff`; `output_open`, true, where a process that the command left running kept
    its output open, and nothing more was read of it; `outputs`, what was stored, with name, key and
    size_bytes.

    The environment has KON_RUN, KON_TASK (the task's index) and KON_ATTEMPT, for string commands
    with an item KON_ITEM as well, or KON_ITEM_1, KON_ITEM_2, ... where there are several. With
    `stdin_item` an item of more than 32,000 characters has no variable.
    """

    name: ClassVar[str] = "shell"
    takes = ShellOptions
    items_as_text: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = shell_options.read(self.name, options)
        self._environment = dict(os.environb)
        self._environment.update((os.fsencode(k), os.fsencode(str(v))) for k, v in self._options.env.items())
        self._shell = ShellProgram(self._options.shell, _functions(self._environment))
        command = self._options.command
        words = [str(word) for word in command] if isinstance(command, list) else command
        self._template = (
            None
            if words is None
            else Template(
                words,
                self._shell,
                positions=self._options.positions,
                appends=not self._options.stdin_item,
            )
        )
        item_in_command = (
            isinstance(command, str) and placeholders(command, self._options.positions) - NUMBERS
        )
        self._reads_its_item = self._options.stdin_item and not item_in_command
        self._staging = Staging(self.name, self._options.inputs, self._options.outputs)
        if self._staging and self._options.cwd is not None:
            raise OptionError(
                "the options of kind shell: cwd: with inputs or outputs the command runs in a folder of the "
                "attempt's own; leave it out",
                "cwd",
            )
        self._spawner = self._make_spawner(self._options.cwd)
        self._objects: ObjectStore | None = None
        checked = self._options
        self._here = checked.here or Here()
        self._gate = Gate(checked.delay_s, checked.max_load, checked.min_free_bytes)
        self._slots = list(range(1, checked.slots + 1))  # free ones, the lowest first
        self._live: Live | None = None
        self._life, self._numbers = secrets.token_hex(4), itertools.count()
        self._running: dict[int, tuple[Capture, Capture]] = {}
        allow(checked.slots)

    def body_of_line(self, line: str) -> Any:
        """The line as it stands: the item that the command is given, or the command itself."""
        return line

    def body_of_count(self, number: int) -> Any:
        """None: a command that wants the task's number says `{#}`, and any other runs as it is."""
        return None

    def check(self, body: Any) -> None:
        if self._template is None:
            self._call(body, 1)
        else:
            self._template.check(len(self._items(body)))
        if self._staging:
            self._staging.check(self._one_item(body))

    def shared_keys(self, body: Any) -> Sequence[str]:
        return self._staging.shared_keys(self._one_item(body)) if self._staging else ()

    async def open(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def ready(self) -> None:
        if not self._gate.is_open:
            await self._gate.wait()

    def output(self, index: int) -> Mapping[str, str] | None:
        captures = self._running.get(index)
        if captures is None:
            return None
        return {stream: capture.text().text for stream, capture in zip(STREAMS, captures)}

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        if self._staging:
            return await self._execute_staged(body, attempt, self._staging)
        return await self._execute(body, attempt, self._spawner)

    async def _execute_staged(self, body: Any, attempt: Attempt, staging: Staging) -> Any:
        assert self._objects is not None, "open comes first"
        item = self._one_item(body)
        async with working_folder(self.name) as folder:
            await staging.fetch(self._objects, folder, item, attempt)
            spawner = self._make_spawner(str(folder))
            try:
                result = await self._execute(body, attempt, spawner)
            finally:
                spawner.close()
            try:
                stored = await staging.store(self._objects, folder, item, attempt)
            except KindError as error:
                raise KindError(str(error), result) from error
        return {**result, "outputs": stored}

    async def _execute(self, body: Any, attempt: Attempt, spawner: Spawner) -> dict[str, Any]:
        slot = heapq.heappop(self._slots) if self._slots else None
        try:
            call = self._call(body, attempt.index + 1, slot)
            environment: dict[bytes, bytes | str] = {
                **self._environment,
                **{name.encode(): value for name, value in self._variables(call).items()},
                b"KON_RUN": attempt.run,
                b"KON_TASK": b"%d" % attempt.index,
                b"KON_ATTEMPT": b"%d" % attempt.number,
            }
            captures = self._running[attempt.index] = self._captures(body, attempt)
            try:
                finished, in_shell = await self._run(call, environment, spawner, captures, self._input(body))
            except BaseException:
                for capture in captures:
                    capture.drop()
                raise
            finally:
                self._running.pop(attempt.index, None)
            attempt.spent = finished.spent
            return self._judged(call, finished, in_shell)
        finally:
            if slot is not None:
                heapq.heappush(self._slots, slot)

    async def close(self) -> None:
        self._spawner.close()
        if self._live is not None:
            self._live.close()

    def _captures(self, body: Any, attempt: Attempt) -> tuple[Capture, Capture]:
        """What takes the command's stdout and stderr."""
        here, limit_bytes = self._here, self._options.max_output_bytes
        out, err = Capture(limit_bytes), Capture(limit_bytes)
        if here.keep is not None:
            # a name of its own, as the attempt may be made twice
            name = f"{here.keep}/{attempt.index + 1}.{attempt.number}.{self._life}-{next(self._numbers)}"
            out, err = (
                WholeCapture(limit_bytes, f"{name}.stdout"),
                WholeCapture(limit_bytes, f"{name}.stderr"),
            )
        if here.live is None:
            return out, err
        if self._live is None:
            self._live = Live(Path(here.live), here.mode)
        tag = b" ".join(map(os.fsencode, self._items(body))) + b"\t" if here.tag else b""
        return self._live.of((out, err), tag)

    def _variables(self, call: Invocation) -> Mapping[str, str]:
        """Without items that are too long for one, where the command reads its item."""
        if not self._reads_its_item:
            return call.variables
        return {name: value for name, value in call.variables.items() if len(value) <= _LONGEST_VARIABLE}

    def _input(self, body: Any) -> bytes | Path | None:
        """What this command reads, where that is not the same for all."""
        if self._options.stdin_item:
            return b"".join(os.fsencode(item) + b"\n" for item in self._items(body))
        return None if self._options.stdin_file is None else Path(self._options.stdin_file)

    def _make_spawner(self, cwd: str | None) -> Spawner:
        return Spawner(
            cwd=cwd,
            stdin=None if self._options.stdin is None else self._options.stdin.encode(),
            max_output_bytes=self._options.max_output_bytes,
            kill_grace_s=self._options.kill_grace_s,
        )

    def _items(self, body: Any) -> list[str]:
        """None where there is no template: then the body is the command itself."""
        if self._template is None or body is None:
            return []
        bodies = body if isinstance(body, list) and self._options.positions and body else [body]
        return [_word(each, "the item") for each in bodies]

    def _one_item(self, body: Any) -> str | None:
        """Raises ConfigurationError where there are several: files are named by one."""
        items = self._items(body)
        if len(items) > 1:
            raise ConfigurationError("with inputs or outputs a task has one item")
        return items[0] if items else None

    def _call(self, body: Any, number: int, slot: int | None = None) -> Invocation:
        """Raises ConfigurationError for a body that can't be run."""
        if self._template is not None:
            return self._template.call(self._items(body) or None, number, slot)
        if isinstance(body, str) and body.strip():
            return self._shell.call(_word(body, "the command"))
        if isinstance(body, list) and body and body[0] != "":
            return Invocation([_word(word, "a word of the command") for word in body])
        raise ConfigurationError(f"expected a command, a string or a list of words, got {body!r:.80}")

    async def _run(
        self,
        call: Invocation,
        environment: Environment,
        spawner: Spawner,
        captures: tuple[Capture, Capture],
        stdin: bytes | Path | None,
    ) -> tuple[Finished, bool]:
        """How it ended, and whether it was the shell that ran it."""
        try:
            try:
                finished = await spawner.run(call.argv, environment, captures=captures, stdin=stdin)
                return finished, call.argv[0] == self._shell.path
            except OSError as error:
                if call.in_shell is None or error.errno not in _NOT_A_PROGRAM:
                    raise
            finished = await spawner.run(call.in_shell, environment, captures=captures, stdin=stdin)
            return finished, True
        except OSError as error:
            raise KindError(self._not_started(call, error, environment)) from error

    def _not_started(self, call: Invocation, error: OSError, environment: Environment) -> str:
        program = call.argv[0]
        cwd = self._options.cwd
        if cwd is not None and error.filename == cwd and not Path(cwd).is_dir():
            return f'can\'t run in the folder "{cwd}" (cwd): {error.strerror}'
        if self._options.stdin_file is not None and error.filename == self._options.stdin_file:
            return f'can\'t read "{self._options.stdin_file}" (stdin_file): {error.strerror}'
        if error.errno == errno.ENOENT and "/" not in program:
            path = os.fsdecode(environment.get(b"PATH", os.defpath.encode()))
            return f'there is no program "{program}" on PATH ({path})'
        if error.errno == errno.ENOENT:
            return f'there is no program "{program}", or not the interpreter that its first line names'
        if error.errno == errno.E2BIG:
            longest_bytes = max(len(os.fsencode(word)) for word in (*call.argv, *call.variables.values()))
            return (
                f'can\'t start "{program:.200}": its arguments and variables are too long for this system, '
                f"one with {longest_bytes:,} bytes. A command can read its item from standard input "
                "(stdin_item; kon map --stdin item)"
            )
        return f'can\'t start "{program:.200}": {error.strerror}'

    def _judged(self, call: Invocation, finished: Finished, in_shell: bool) -> dict[str, Any]:
        """The result, or KindError with the result when the command did not end well."""
        code = finished.code
        if code is None:
            raise KindError(
                f'the exit code of "{call.argv[0]:.200}" was lost: this worker was started with SIGCHLD '
                "ignored, or something in its process waits for children that are not its own"
            )
        result: dict[str, Any] = {"exit": code if code >= 0 else 128 - code}
        if code < 0:
            result["signal"] = signal_name(-code)
        try:
            _add_output(result, finished)
        except OSError as error:
            raise KindError(
                f"its output can't be kept whole, so that it counts as failed: {error.strerror} "
                f"({self._here.keep or self._here.live})",
                result,
            ) from error
        if self._options.exact_output:
            self._check_exact(result)
        if result["exit"] in self._options.ok_exit_codes:
            return result
        raise KindError(_failure(code, result["stderr"], in_shell), result)

    def _check_exact(self, result: dict[str, Any]) -> None:
        """Raises KindError, with what there is of the output, where it is not the same byte for byte."""
        where = "write it to a file of your own, or set max_output_bytes to keep what is shown here"
        if result.get("truncated"):
            sizes_bytes = [result[size] for size in ("stdout_bytes", "stderr_bytes") if size in result]
            raise KindError(
                f"its output has {max(sizes_bytes):,} bytes, and {self._options.max_output_bytes:,} are "
                f"kept; the command has run to its end. Have it {where}",
                result,
                is_final=True,
            )
        if result.get("encoding_errors"):
            raise KindError(
                "its output is not UTF-8, and can't be kept as it is; the command has run to its end. "
                f"Have it {where}",
                result,
                is_final=True,
            )


def _word(value: Any, what: str) -> str:
    if isinstance(value, dict) and value.keys() == {"bytes"}:
        word = _of_bytes(value["bytes"], what)
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigurationError(f"expected {what} to be a string or a number, got {value!r:.80}")
    else:
        word = str(value)
    if "\0" in word:
        raise ConfigurationError(f"{what} holds a NUL character, which no command can take: {value!r:.80}")
    return word


def _of_bytes(text: Any, what: str) -> str:
    """A word that is not UTF-8, as Python has such names of files: with surrogates for the odd bytes."""
    try:
        return os.fsdecode(text.encode("latin-1"))
    except (AttributeError, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f'expected the "bytes" of {what} as a string of characters up to U+00FF, got {text!r:.80}'
        ) from error


def _functions(environment: Mapping[bytes, bytes]) -> frozenset[str]:
    """The functions that bash exports; one may go by the name of a program."""
    prefix, suffix = b"BASH_FUNC_", b"%%"
    return frozenset(
        os.fsdecode(name[len(prefix) : -len(suffix)])
        for name in environment
        if name.startswith(prefix) and name.endswith(suffix)
    )


def _add_output(result: dict[str, Any], finished: Finished) -> None:
    """Raises OSError where output could not be kept whole; what there is of it is in the result."""
    problem: OSError | None = None
    for name, capture in zip(STREAMS, (finished.stdout, finished.stderr)):
        if not capture.size_bytes:
            result[name] = ""
            continue
        try:
            file = capture.end()
        except OSError as error:
            problem, file = problem or error, None
        text, whole, utf8 = capture.text()
        result[name] = text
        if file is not None:
            result[f"{name}_file"] = file
        if not whole:
            result["truncated"] = True
            result[f"{name}_bytes"] = capture.size_bytes
        if not utf8:
            result["encoding_errors"] = True
    if finished.output_open:
        result["output_open"] = True
    if problem is not None:
        raise problem


_SHELL_SAYS: Final = {126: "the command can't be executed", 127: "the command was not found"}
_LONGEST_LINE: Final = 300


def _failure(code: int, stderr: str, in_shell: bool) -> str:
    """One line: how it ended, and the last that it said."""
    end = ending(code)
    if in_shell and code in _SHELL_SAYS:
        end += f" ({_SHELL_SAYS[code]})"
    elif in_shell and code > 128:
        end += f" (as after {signal_name(code - 128)})"
    said = stderr.rstrip()
    return f"{end}: {said.splitlines()[-1].strip()[:_LONGEST_LINE]}" if said else end

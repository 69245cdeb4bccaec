"""What an event loop offers and a simulated run may not use: real time, threads, sockets, processes."""

from __future__ import annotations

import asyncio
from typing import Any, Final


class SimulationError(RuntimeError):
    """A simulated run can't go on. Not a `KonError`: it speaks of a fault in the code that is simulated."""


class SimRefused(SimulationError):
    """Code under simulation asked for something of the real world, which no seed could repeat."""


_THREADS: Final = "a thread"
_SOCKETS: Final = "a socket"
_PROCESSES: Final = "a process or a pipe"
_SIGNALS: Final = "a signal"


def _refused(method: str, what: str) -> Any:
    def refuse(self: RefusingLoop, *args: Any, **kwargs: Any) -> Any:
        error = SimRefused(
            f"loop.{method}() was called in a simulated run, which may not use {what}: "
            "take what needs it from the outside, as an argument, and give the simulation another"
        )
        self.refusals.append(error)
        raise error

    refuse.__name__ = method
    return refuse


class RefusingLoop(asyncio.AbstractEventLoop):
    """Refuses all that is not plain scheduling, and remembers it, in case the caller swallows the error."""

    def __init__(self) -> None:
        self.refusals: list[SimRefused] = []

    run_in_executor = _refused("run_in_executor", _THREADS)
    set_default_executor = _refused("set_default_executor", _THREADS)
    call_soon_threadsafe = _refused("call_soon_threadsafe", _THREADS)
    getaddrinfo = _refused("getaddrinfo", _THREADS)
    getnameinfo = _refused("getnameinfo", _THREADS)

    add_reader = _refused("add_reader", _SOCKETS)
    add_writer = _refused("add_writer", _SOCKETS)
    remove_reader = _refused("remove_reader", _SOCKETS)
    remove_writer = _refused("remove_writer", _SOCKETS)
    connect_accepted_socket = _refused("connect_accepted_socket", _SOCKETS)
    create_connection = _refused("create_connection", _SOCKETS)
    create_datagram_endpoint = _refused("create_datagram_endpoint", _SOCKETS)
    create_server = _refused("create_server", _SOCKETS)
    create_unix_connection = _refused("create_unix_connection", _SOCKETS)
    create_unix_server = _refused("create_unix_server", _SOCKETS)
    sendfile = _refused("sendfile", _SOCKETS)
    sock_accept = _refused("sock_accept", _SOCKETS)
    sock_connect = _refused("sock_connect", _SOCKETS)
    sock_recv = _refused("sock_recv", _SOCKETS)
    sock_recv_into = _refused("sock_recv_into", _SOCKETS)
    sock_recvfrom = _refused("sock_recvfrom", _SOCKETS)
    sock_recvfrom_into = _refused("sock_recvfrom_into", _SOCKETS)
    sock_sendall = _refused("sock_sendall", _SOCKETS)
    sock_sendfile = _refused("sock_sendfile", _SOCKETS)
    sock_sendto = _refused("sock_sendto", _SOCKETS)
    start_tls = _refused("start_tls", _SOCKETS)

    connect_read_pipe = _refused("connect_read_pipe", _PROCESSES)
    connect_write_pipe = _refused("connect_write_pipe", _PROCESSES)
    subprocess_exec = _refused("subprocess_exec", _PROCESSES)
    subprocess_shell = _refused("subprocess_shell", _PROCESSES)

    add_signal_handler = _refused("add_signal_handler", _SIGNALS)
    remove_signal_handler = _refused("remove_signal_handler", _SIGNALS)

    set_exception_handler = _refused("set_exception_handler", "a handler that would hide an error")
    get_exception_handler = _refused("get_exception_handler", "a handler that would hide an error")
    default_exception_handler = _refused("default_exception_handler", "a handler that would hide an error")
    set_task_factory = _refused("set_task_factory", "a task factory")
    set_debug = _refused("set_debug", "asyncio's debug mode, which reads the wall clock")

    def get_task_factory(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

"""An emulator's process: `python -m kon.backends.emulator.server KIND FD FOLDER`, as `started` runs it.

FD: a socket that listens already. It serves until its stdin ends, which is when the process that started it
has gone, by SIGKILL even; FOLDER, which is its own, goes with it then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import threading
from typing import Final

_KEEP_ALIVE_S: Final = 75
_BACKLOG: Final = 256


def main() -> None:
    kind, fd, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_end_with_parent, args=[folder], name="end-with-parent", daemon=True).start()
    if kind == "moto":
        _serve_moto(fd)
    else:
        _serve_ministack(fd)


def _end_with_parent(folder: str) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _serve_ministack(fd: int) -> None:
    # What `python -m ministack` does as well, but for a socket that is bound already.
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{fd}"]
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.backlog = _BACKLOG
    config.loglevel = "WARNING"
    asyncio.run(serve(app, config))


def _serve_moto(fd: int) -> None:
    # What `python -m moto.server` does as well.
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or the log has a line for each request
    application = DomainDispatcherApplication(create_backend_app)
    port = int(os.environ["MOTO_PORT"])
    server = make_server(
        "127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler, fd=fd
    )
    server.serve_forever()


if __name__ == "__main__":
    main()

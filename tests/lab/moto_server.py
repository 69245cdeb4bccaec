"""moto with its gaps mended: `python -m tests.lab.moto_server ADDRESS PORT`.

It prints the port that it listens at, which is any free one for PORT 0, and ends when its stdin does.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.serving import make_server

from kon.backends.emulator.server import moto_application, moto_tags, quicken_moto
from kon.backends.emulator.strict import Strict, Wsgi
from tests.lab.rights import rights


def main() -> None:
    address, port = sys.argv[1], int(sys.argv[2])
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or there is a line for each request
    quicken_moto()
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    from tests.lab.moto_gaps import mend

    mend()
    account = os.environ["MOTO_ACCOUNT_ID"]
    strict = Strict(account, rights(), moto_tags(account))
    server = make_server(
        address,
        port,
        one_at_a_time(Wsgi(moto_application(), strict)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    os.environ["MOTO_PORT"] = str(server.server_port)
    print(server.server_port, flush=True)
    server.serve_forever()


def one_at_a_time(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """moto's own structures know no threads."""
    turn = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with turn:
            return list(application(environ, start_response))

    return answer


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()

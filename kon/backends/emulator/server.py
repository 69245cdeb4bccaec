"""An emulator's process: `python -m kon.backends.emulator.server KIND FD FOLDER SETTINGS`, run by `started`.

FD: a socket that listens already. SETTINGS: of the strict layer, as JSON; "-" for none. It serves until its
stdin ends, which is when the process that started it has gone, even by SIGKILL; FOLDER, which is its own,
goes with it then.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kon.backends.emulator.strict import Asgi, Settings, Strict, Wsgi
from kon.backends.emulator.strict.rights import TagsOf, no_tags

_KEEP_ALIVE_S: Final = 75
_BACKLOG: Final = 256
ACCOUNTS: Final = {"ministack": "000000000000", "moto": "123456789012"}


def main() -> None:
    kind, fd, folder, settings = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    threading.Thread(target=_end_with_parent, args=[folder], name="end-with-parent", daemon=True).start()
    strict = None
    if kind == "moto":
        quicken_moto()
    if settings != "-":
        tags_of = moto_tags(ACCOUNTS[kind]) if kind == "moto" else no_tags
        strict = Strict(ACCOUNTS[kind], msgspec.json.decode(settings, type=Settings), tags_of)
    if kind == "moto":
        _serve_moto(fd, strict)
    else:
        _serve_ministack(fd, strict)


def _end_with_parent(folder: str) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _serve_ministack(fd: int, strict: Strict | None) -> None:
    # What `python -m ministack` does as well, but for a socket that is bound already.
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{fd}"]
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.backlog = _BACKLOG
    config.loglevel = "WARNING"
    served: Any = app if strict is None else Asgi(app, strict)
    asyncio.run(serve(served, config))


def quicken_moto() -> None:
    """Have moto start in half of its time, and list what EC2 has in a third. Before its first import."""
    import botocore.loaders
    import botocore.session

    # each session reads the descriptions of all services again, and moto makes hundreds
    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda *paths: loader

    from moto.core import responses
    from moto.ec2.models import amis, tags
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    # for each request it looks through moto's own folder, and tries a hundred patterns
    which = functools.lru_cache(1_000)(DomainDispatcherApplication.get_backend_for_host)
    DomainDispatcherApplication.get_backend_for_host = which  # type: ignore[method-assign]
    tags.simple_aws_filter_to_re = functools.cache(tags.simple_aws_filter_to_re)  # type: ignore[attr-defined]
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)  # type: ignore[attr-defined]
    # 44 of Amazon's images will do. moto makes 1,300 more, for each region and at each reset, unless there is
    # another file of images; and each list goes through their snapshots.
    assert amis.AMIS, "it has read its own file by now"
    os.environ["MOTO_AMIS_PATH"] = os.devnull


def moto_tags(account_id: str) -> TagsOf:
    """Tags of EC2's things, as moto has them in this process."""
    from moto.ec2.models import ec2_backends

    def tags_of(region: str, thing: str) -> Mapping[str, str]:
        backend: Any = ec2_backends[account_id][region]
        keys = {name: each.id for name, each in backend.key_pairs.items()}
        tables = {end: name for name, each in backend.route_tables.items() for end in each._associations}
        known = {**keys, **tables, **backend.launch_template_name_to_ids}
        return dict(backend.tags.get(known.get(thing, thing), {}))

    return tags_of


def moto_application() -> Any:
    """moto as a WSGI application."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


def _serve_moto(fd: int, strict: Strict | None) -> None:
    # What `python -m moto.server` does as well.
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or the log has a line for each request
    application = one_write_at_once(moto_application())
    if strict is not None:
        application = Wsgi(application, strict)
    port = int(os.environ["MOTO_PORT"])
    server = make_server(
        "127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler, fd=fd
    )
    server.serve_forever()


def one_write_at_once(application: Any) -> Any:
    """Serve PUT and DELETE, S3's writes, one after another.

    Of several conditional ones at once more than one succeeded: moto looks, and then writes.
    """
    writing = threading.Lock()

    def served(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] not in ("PUT", "DELETE"):
            return application(environ, start_response)
        with writing:
            return application(environ, start_response)

    return served


if __name__ == "__main__":
    main()

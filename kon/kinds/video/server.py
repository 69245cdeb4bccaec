"""A local image server, for trials and measurements: `python -m kon.kinds.video.server FOLDER`.

It can be as slow as the internet: with a delay before each answer, and a limit of bytes a second on
each connection.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from aiohttp import web

from kon.core.errors import ConfigurationError
from kon.kinds.video import demo
from kon.kinds.video.jobfile import DEMO, demo_names
from kon.kinds.web.links import Guard

HERE: Final = "127.0.0.1"
_CHUNK_BYTES: Final = 32_768


class Images(ABC):
    """What is served, by name. place: which images these are, for keys; empty for the demo's."""

    place: str = ""

    @abstractmethod
    def open(self, name: str) -> tuple[BinaryIO, str]:
        """An image and its ETag. Called in a thread. Raises KeyError where there is none of that name, and
        OSError for one that can't be read."""

    def link(self, written: str) -> str:
        """The link that somebody means who wrote this: a link, or the name of an image."""
        return written


class DemoImages(Images):
    def __init__(self) -> None:
        self._numbers = {name: number for number, name in enumerate(demo_names(), start=1)}

    def open(self, name: str) -> tuple[BinaryIO, str]:
        return io.BytesIO(demo.picture(self._numbers[name])), f"demo-{name}"


class FolderImages(Images):
    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError where there is no such folder."""
        self._folder = folder.resolve()
        if not self._folder.is_dir():
            raise ConfigurationError(f"images: there is no folder {folder}")
        self.place = str(self._folder)
        self._known: dict[Path, tuple[int, int, str]] = {}

    def open(self, name: str) -> tuple[BinaryIO, str]:
        path = self._path(name)
        if path is None:
            raise KeyError(name)
        content = path.open("rb")
        try:
            about = os.fstat(content.fileno())
            return content, self._etag(content, path, about.st_mtime_ns, about.st_size)
        except OSError:
            content.close()
            raise

    def link(self, written: str) -> str:
        """With a file of that very name it means the file: `shot #3.jpg`, `100%.jpg`."""
        return written if self._path(written) is None else quote(written)

    def _path(self, name: str) -> Path | None:
        """A file of the folder; None where it has none of that name."""
        try:
            path = Path(os.path.realpath(self._folder / name))  # resolve() fails at links in a circle
            return path if path.is_relative_to(self._folder) and path.is_file() else None
        except (OSError, ValueError):  # longer than a name may be, or with a null
            return None

    def _etag(self, content: io.BufferedReader, path: Path, mtime_ns: int, size_bytes: int) -> str:
        """A digest of the content, so that copies of a file are the same."""
        known = self._known.get(path)
        if known is None or known[:2] != (mtime_ns, size_bytes):
            known = mtime_ns, size_bytes, hashlib.file_digest(content, "sha256").hexdigest()
            self._known[path] = known
        return known[2]


def images_of(place: str) -> Images:
    """Images of `demo`, or of a folder. Raises ConfigurationError."""
    return DemoImages() if place == DEMO else FolderImages(Path(place))


class ImageServer:
    """Serves until it is closed.

    latency_s: before each answer. rate_bytes_s: bytes a second for each connection; None for no limit.
    """

    def __init__(
        self, images: Images, latency_s: float = 0.0, rate_bytes_s: float | None = None, port: int = 0
    ) -> None:
        self._images = images
        self._latency_s = latency_s
        self._rate_bytes_s = rate_bytes_s
        self._asked_port = port
        self._runner: web.AppRunner | None = None
        self.requests = 0
        self.connections: set[int] = set()
        """The ports that clients have come from: one for each connection."""
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{name:.+}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HERE, self._asked_port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    @property
    def base(self) -> str:
        """What names are relative to."""
        return f"http://{HERE}:{self.port}/"

    def absolute(self, guard: Guard, written: str) -> str:
        """The link, or the one to an image of that name. Raises BadLink for one that is not allowed."""
        return guard.absolute(self._images.link(written), self.base)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if request.transport is not None:
            self.connections.add(request.transport.get_extra_info("peername")[1])
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        try:
            content, etag = await asyncio.to_thread(self._images.open, request.match_info["name"])
        except KeyError:
            raise web.HTTPNotFound from None
        except PermissionError as error:
            raise web.HTTPForbidden(reason=f"it can't be read: {error.strerror}") from None
        except OSError as error:  # which may pass
            raise web.HTTPInternalServerError(reason=f"it can't be read: {error.strerror}") from None
        with content:
            return await self._send(request, content, etag)

    async def _send(self, request: web.Request, content: BinaryIO, etag: str) -> web.StreamResponse:
        """In parts, so that large images of many connections are never in memory whole."""
        response = web.StreamResponse()
        response.content_type = "image/jpeg"
        response.etag = etag
        response.content_length = content.seek(0, io.SEEK_END)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        content.seek(0)
        while part := content.read(_CHUNK_BYTES):
            await response.write(part)
            if self._rate_bytes_s is not None:
                await asyncio.sleep(max(0.0, began_s + content.tell() / self._rate_bytes_s - loop.time()))
        await response.write_eof()
        return response


async def _serve(server: ImageServer) -> None:
    await server.start()
    print(f"serving at {server.base}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m kon.kinds.video.server", description="Serves images, slowly."
    )
    parser.add_argument("images", help='a folder, or "demo" for made-up pictures')
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, metavar="BYTES", help="bytes a second for each connection")
    args = parser.parse_args()
    try:
        server = ImageServer(images_of(args.images), args.latency_ms / 1000, args.rate, args.port)
    except ConfigurationError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(server))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

"""The kind `mirror`: what it copies, what it leaves alone, and what it refuses."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from aiohttp import web
from click.testing import CliRunner

from kon.backends.emulator import Emulator
from kon.backends.memory.backend import MemoryObjects
from kon.cli.group import kon
from kon.core.errors import KindError
from kon.kinds import copier
from kon.kinds.mirror import Mirror
from kon.kinds.video.server import FolderImages
from tests.kinds.running import attempt
from tests.kinds.video.given import run, site

CONTENT = b"a picture, say" * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = {"allow": ["loopback"], "backoff_s": 0.001}


@pytest.fixture(autouse=True)
def _no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


class Page:
    """What a server has, and which requests it got for it. Each answer may be spoilt."""

    def __init__(self, **headers: str) -> None:
        self.content = CONTENT
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.asked: list[str] = []
        self.knows_conditions = True
        self.knows_head = True
        self.spoil: list[Callable[[bytes], bytes]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.method)
        if request.method == "HEAD" and not self.knows_head:
            raise web.HTTPMethodNotAllowed("HEAD", ["GET"])
        for condition, header in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")):
            asked_for = request.headers.get(condition)
            if self.knows_conditions and asked_for and asked_for == self.headers.get(header):
                return web.Response(status=304, headers=self.headers)
        content = self.spoil.pop(0)(self.content) if self.spoil else self.content
        return web.Response(body=content, headers=self.headers)


def mirrored(
    page: Page | Callable[[web.Request], Awaitable[web.StreamResponse]],
    use: Callable[[Callable[[Any], Awaitable[Any]], MemoryObjects], Awaitable[None]],
    options: Mapping[str, Any] = QUICK,
) -> None:
    """`use` gets a function that makes an attempt at an item; the item's link is the page's."""

    async def main() -> None:
        objects = MemoryObjects()
        async with site() as made:
            made.pages["page"] = page
            kind = Mirror(options)
            await kind.open(objects)
            try:

                async def copy(item: Mapping[str, Any] | None = None) -> Any:
                    body = {"link": made.url("page"), "key": "copy", **(item or {})}
                    kind.check(body)
                    return await kind.execute(body, attempt())

                await use(copy, objects)
            finally:
                await kind.close()

    run(main())


async def stored(objects: MemoryObjects, folder: Path, key: str = "copy") -> bytes:
    await objects.get(key, folder / "got")
    return (folder / "got").read_bytes()


@pytest.mark.parametrize(
    ("headers", "same_by", "again"),
    [
        ({"ETag": '"one"'}, "etag", ["GET"]),
        ({"Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "modified", ["GET"]),
        ({}, "size", ["HEAD"]),
    ],
)
@pytest.mark.parametrize("knows_conditions", [True, False])
def test_what_is_there_already_is_not_copied_again(
    tmp_path: Path, headers: dict[str, str], same_by: str, again: list[str], knows_conditions: bool
) -> None:
    page = Page(**headers)
    page.knows_conditions = knows_conditions

    async def use(copy: Any, objects: MemoryObjects) -> None:
        first = await copy()
        assert (first["copied"], first["size_bytes"], first["sha256"]) == (True, len(CONTENT), SHA256)
        assert await stored(objects, tmp_path) == CONTENT
        second = await copy()
        assert (second["copied"], second["same_by"], second["sha256"]) == (False, same_by, SHA256)
        assert page.asked == ["GET", *again]

    mirrored(page, use)


def test_what_has_changed_is_copied_again(tmp_path: Path) -> None:
    page = Page(ETag='"one"')

    async def use(copy: Any, objects: MemoryObjects) -> None:
        await copy()
        page.content, page.headers["ETag"] = CONTENT[::-1], '"two"'
        assert (await copy())["copied"]
        assert await stored(objects, tmp_path) == CONTENT[::-1]
        page.headers.clear()
        page.content = b"shorter"
        assert (await copy())["copied"]
        assert await stored(objects, tmp_path) == b"shorter"

    mirrored(page, use)


def test_a_copy_without_a_note_is_told_by_its_size(tmp_path: Path) -> None:
    """As after the end of a worker between the two, or of objects that somebody else has put there."""
    page = Page(ETag='"one"')

    async def use(copy: Any, objects: MemoryObjects) -> None:
        (tmp_path / "given").write_bytes(CONTENT)
        await objects.put("copy", tmp_path / "given")
        assert (await copy())["same_by"] == "size"
        (tmp_path / "given").write_bytes(CONTENT[:-1])
        await objects.put("copy", tmp_path / "given")
        page.knows_head = False
        assert (await copy())["copied"]
        assert await stored(objects, tmp_path) == CONTENT
        assert page.asked == ["HEAD", "HEAD", "GET"]

    mirrored(page, use)


@pytest.mark.parametrize("item", [{}, {"checksum": f"sha256:{SHA256}"}])
def test_the_end_of_a_worker_between_copy_and_note_does_not_have_an_old_note_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, item: dict[str, str]
) -> None:
    page = Page(ETag='"one"')

    async def use(copy: Any, objects: MemoryObjects) -> None:
        await copy()
        page.content, page.headers["ETag"] = CONTENT[::-1], '"two"'
        put = copier.Copier._put_note

        async def dies(self: Any, key: str, note: Any, folder: Path) -> None:
            if note.link:
                raise KindError("the worker has ended")
            await put(self, key, note, folder)

        monkeypatch.setattr(copier.Copier, "_put_note", dies)
        with pytest.raises(KindError, match="has ended"):
            await copy()
        monkeypatch.setattr(copier.Copier, "_put_note", put)
        page.content, page.headers["ETag"] = CONTENT, '"one"'  # the server goes back to what it had
        assert (await copy(item))["copied"]
        assert await stored(objects, tmp_path) == CONTENT

    mirrored(page, use)


@pytest.mark.parametrize(("suffix", "inflated"), [(".txt", True), (".tar.gz", False)])
def test_a_body_that_a_server_compresses_regardless_is_stored_as_the_file_it_is(
    tmp_path: Path, suffix: str, inflated: bool
) -> None:
    compressed = gzip.compress(CONTENT)

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=compressed, headers={"Content-Encoding": "gzip"})

    async def main() -> None:
        objects, kind = MemoryObjects(), Mirror(QUICK)
        await kind.open(objects)
        try:
            async with site() as made:
                made.pages[f"file{suffix}"] = page
                await kind.execute({"link": made.url(f"file{suffix}"), "key": "copy"}, attempt())
        finally:
            await kind.close()
        assert await stored(objects, tmp_path) == (CONTENT if inflated else compressed)

    run(main())


def test_a_checksum_is_held_to(tmp_path: Path) -> None:
    page = Page()
    right = {"checksum": f"md5:{hashlib.md5(CONTENT).hexdigest().upper()}"}

    async def use(copy: Any, objects: MemoryObjects) -> None:
        page.spoil = [lambda content: content[:-1] + b"x"]
        assert (await copy(right))["copied"]  # the second try
        assert len(page.asked) == 2
        assert (await copy(right))["same_by"] == "checksum"
        assert len(page.asked) == 2  # not so much as asked
        with pytest.raises(KindError, match=r"its sha256 is [0-9a-f]+, and the item says 0+, 4 times"):
            await copy({"checksum": "sha256:" + "0" * 64})
        with pytest.raises(KindError, match="it has 14,000 bytes, and the item says 7, 4 times"):
            await copy({"size_bytes": 7})
        assert await stored(objects, tmp_path) == CONTENT  # what was there before still is

    mirrored(page, use)


def test_a_body_that_breaks_off_is_fetched_again_and_never_stored_in_part(tmp_path: Path) -> None:
    tries = 0

    async def breaking(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        response = web.StreamResponse()
        response.content_length = len(CONTENT)
        await response.prepare(request)
        await response.write(CONTENT[: len(CONTENT) // 2] if tries < 3 else CONTENT)
        if tries < 3:
            assert request.transport is not None
            request.transport.abort()
        return response

    async def use(copy: Any, objects: MemoryObjects) -> None:
        assert (await copy())["copied"]
        assert await stored(objects, tmp_path) == CONTENT

    mirrored(breaking, use)


@pytest.mark.parametrize("announced", [True, False])
def test_a_byte_cap(announced: bool) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if announced:
            response.content_length = 10**12
        await response.prepare(request)
        while True:
            await response.write(CONTENT)

    async def use(copy: Any, objects: MemoryObjects) -> None:
        with pytest.raises(KindError, match="more than 20,000 bytes, and the option link_bytes"):
            await copy()
        with pytest.raises(KeyError):
            await objects.size_bytes("copy")

    mirrored(large, use, {**QUICK, "link_bytes": 20_000})


def test_a_deadline_for_all_tries_together() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def use(copy: Any, objects: MemoryObjects) -> None:
        with pytest.raises(KindError, match=r"did not come within 0\.5 s"):
            await copy()

    mirrored(silent, use, {**QUICK, "link_timeout_s": 0.5})


def test_redirects_are_bounded_and_lead_nowhere_that_links_may_not() -> None:
    for to, says in (
        ("/page", "redirects more than 2 times"),
        ("http://169.254.169.254/", "which is refused"),
    ):

        async def onward(request: web.Request, to: str = to) -> web.StreamResponse:
            raise web.HTTPFound(to)

        async def use(copy: Any, objects: MemoryObjects, says: str = says) -> None:
            with pytest.raises(KindError, match=says):
                await copy()

        mirrored(onward, use, {**QUICK, "redirects": 2})


def test_this_machine_is_out_of_reach_unless_allowed() -> None:
    page = Page()

    async def use(copy: Any, objects: MemoryObjects) -> None:
        with pytest.raises(KindError, match=r"^http://127.*a loopback address, which is refused"):
            await copy()
        assert page.asked == []

    mirrored(page, use, {})


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(copy: Any, objects: MemoryObjects) -> None:
        real = Path.open

        def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if self.name == "copy" and mode == "ab":
                return real(Path("/dev/full"), mode, 0)
            return real(self, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(
            KindError, match=r"No space left on device; nothing of it was stored\. Make room there"
        ):
            await copy()

    mirrored(Page(), use)


def test_a_cancelled_copy_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(CONTENT)
        begun.set()
        await asyncio.Event().wait()
        return response

    async def use(copy: Any, objects: MemoryObjects) -> None:
        task = asyncio.ensure_future(copy())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / "tmp").iterdir()) == []
        with pytest.raises(KeyError):
            await objects.size_bytes("copy")

    mirrored(endless, use)


ODD_NAMES: Final = ("shot#1.jpg", "shot#2.jpg", "100%.jpg", "what?.jpg", "what?.jpg?", "a%20b.jpg", "für.jpg")
"""Names of files, in which links have something else."""


def test_a_file_of_the_folder_is_found_by_its_very_name(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, name in enumerate(ODD_NAMES):
        (images / name).write_bytes(CONTENT + bytes([number]))
    (images / "a b.jpg").write_bytes(CONTENT)  # not what `a%20b.jpg` says here, where there is one
    (images / "in a link.jpg").write_bytes(CONTENT)
    file = tmp_path / "exp.yml"
    items = json.dumps([*ODD_NAMES, "in%20a%20link.jpg"])
    file.write_text(
        f"name: odd\nbackend: sqlite\nworkload: {{kind: mirror, images: {images}, items: {items}}}\n"
    )
    ended = CliRunner().invoke(
        kon, ["run", str(file), "--out", str(tmp_path / "runs"), "--quiet"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output
    found = {each["link"]: each["key"] for each in results(tmp_path)}
    [run_folder] = (tmp_path / "runs").glob("odd-*")
    copies = [(run_folder / "objects" / found[name]).read_bytes() for name in ODD_NAMES]
    assert copies == [CONTENT + bytes([number]) for number in range(len(ODD_NAMES))]


def test_one_that_can_not_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: FolderImages, name: str) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FolderImages, "open", denied)
    file = tmp_path / "exp.yml"
    file.write_text(
        f"name: odd\nbackend: memory\nworkload: {{kind: mirror, images: {tmp_path}, items: [exp.yml]}}\n"
        "attempts: 1\n"
    )
    CliRunner().invoke(kon, ["run", str(file), "--out", str(tmp_path / "runs")], prog_name="kon")
    [run_folder] = tmp_path.glob("runs/odd-*")
    shown = CliRunner().invoke(kon, ["results", str(run_folder), "--failed"], prog_name="kon")
    assert "its server answers 403 it can't be read: Permission denied" in shown.output


EXPERIMENT = """\
name: {name}
backend: {backend}
workload: {{kind: mirror, images: {images}, items: ["{{1..3}}.jpg"]}}
workers: 1
slots: 3
"""


def ran(folder: Path, name: str, backend: str) -> None:
    images = folder / "images"
    images.mkdir(parents=True)
    for number in (1, 2, 3):
        (images / f"{number}.jpg").write_bytes(CONTENT * number)
    file = folder / "exp.yml"
    file.write_text(EXPERIMENT.format(name=name, backend=backend, images=images))
    ended = CliRunner().invoke(
        kon, ["run", str(file), "--out", str(folder / "runs"), "--quiet"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output


def results(folder: Path) -> list[Any]:
    [run_folder] = folder.glob("runs/*-lease-*")
    shown = CliRunner().invoke(kon, ["results", str(run_folder), "--json"], prog_name="kon")
    return [json.loads(line)["result"] for line in shown.output.splitlines()]


def test_a_second_run_on_the_same_folder_of_objects_copies_nothing(tmp_path: Path) -> None:
    for part, copied in (("a", True), ("b", False)):
        ran(tmp_path / part, part, f"{{name: sqlite, objects: {tmp_path}/kept}}")
        found = results(tmp_path / part)
        assert [each["copied"] for each in found] == [copied] * 3
        assert {each["key"] for each in found} == {f"mirror/{n}.jpg" for n in (1, 2, 3)}
        copies = [tmp_path / "kept" / each["key"] for each in found]
        assert [hashlib.sha256(copy.read_bytes()).hexdigest() for copy in copies] == [
            each["sha256"] for each in found
        ]


@pytest.mark.long
def test_on_amazons_services(tmp_path: Path, on_ministack: Emulator) -> None:
    ran(tmp_path / "a", "mirrors", "{name: aws, prefix: mirrors, region: us-east-1, depth_lag_s: 1}")
    assert [each["copied"] for each in results(tmp_path / "a")] == [True] * 3

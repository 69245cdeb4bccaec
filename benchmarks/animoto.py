"""Videos from links: kon beside the older systems' way. `python -m benchmarks.animoto [--quick] [--write]`

Images come from a server with 100 ms latency and 2 MB/s a connection, and videos go to a store that takes
5 MB/s. Each measurement is made in an interpreter of its own, which has imported what it needs: a worker
does so once, for all of its jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import av
import numpy as np
from PIL import Image

from benchmarks.animoto_page import Compared, Likeness, likeness_of, text, write
from benchmarks.peak_memory import own_peak_mb
from benchmarks.photo_packages import NoPhotos
from benchmarks.photos import FOLDER, photo_set
from benchmarks.similarity import ssim
from benchmarks.wallpapers import FOLDER as WALLPAPERS
from benchmarks.wallpapers import wallpapers
from kon.backends.folder import FolderObjects
from kon.core.kind import Attempt
from kon.kinds.animoto import Animoto
from kon.kinds.video import job as _imported  # noqa: F401 - what the kind imports as it is opened
from kon.kinds.video import server as _served  # noqa: F401
from kon.kinds.video.planes import fitted

LATENCY_MS: Final = 100
RATE_BYTES_S: Final = 2_000_000
UPLOAD_BYTES_S: Final = 5_000_000
PARALLEL: Final = 4
JOBS_EACH: Final = 3
ROUNDS: Final = 3
LARGE: Final = 22
LARGE_MEGAPIXELS: Final = (8, 48)
SIZE: Final = (1920, 1080)
FPS: Final = 25


class SlowObjects(FolderObjects):
    """A folder that takes so many bytes a second from each upload."""

    async def put(self, key: str, file: Path) -> None:
        await asyncio.sleep(file.stat().st_size / UPLOAD_BYTES_S)  # noqa: ASYNC240
        await super().put(key, file)


def by_kon(links: Sequence[str], folder: Path, jobs: int) -> Path:
    """So many jobs one after another, each with the links in another order; the first's video."""

    async def main() -> str:
        objects = SlowObjects(folder)
        kind = Animoto({"allow": ["loopback"], "min_images": len(links)})
        first = ""
        try:
            await kind.open(objects)
            for number in range(jobs):
                order = random.Random(number).sample(links, len(links)) if number else list(links)
                result = await kind.execute(order, Attempt("benchmark", number, 1))
                first = first or result["key"]
        finally:
            await kind.close()
            await objects.close()
        return first

    return folder / asyncio.run(main())


def by_older(links: Sequence[str], folder: Path, preset: str) -> Path:
    """One image after another is fetched, resized and encoded frame by frame; then the file is uploaded."""
    bodies = []
    for link in links:
        with urllib.request.urlopen(link) as response:
            bodies.append(response.read())
    path = folder / "video.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": preset})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for number, body in enumerate(bodies):
            image = letterboxed(body)
            for place in range(FPS):
                frame: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
                frame = frame.reformat(format="yuv420p", dst_colorspace=1)
                frame.pts, frame.time_base = FPS * number + place, Fraction(1, FPS)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    time.sleep(path.stat().st_size / UPLOAD_BYTES_S)
    return path


def letterboxed(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body)).convert("RGB")
    image = image.resize(fitted(*image.size, SIZE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", SIZE)
    canvas.paste(image, ((SIZE[0] - image.width) // 4 * 2, (SIZE[1] - image.height) // 4 * 2))
    return canvas


WAYS: Final[dict[str, Callable[[Sequence[str], Path], Path]]] = {
    "older": lambda links, folder: by_older(links, folder, "medium"),
    "older, kon's preset": lambda links, folder: by_older(links, folder, "superfast"),
    "kon": lambda links, folder: by_kon(links, folder, 1),
    "kon, in a row": lambda links, folder: by_kon(links, folder, JOBS_EACH),
}


def measure(way: str, links: Sequence[str], folder: Path) -> None:
    """Do it, and print what it took; for a process of its own."""
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    path = WAYS[way](links, folder)
    took = {"wall_s": time.monotonic() - began_s, "cpu_s": time.process_time() - began_cpu_s}
    print(json.dumps({**took, "peak_mb": own_peak_mb(), "mb": path.stat().st_size / 1e6, "path": str(path)}))


def start(way: str, links: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    argv = [sys.executable, "-m", "benchmarks.animoto", "--measure", way, str(folder), *links]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a measurement ended with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def likeness(video: Path, photos: Sequence[Path]) -> list[float]:
    """SSIM of luma of each picture, against the letterboxed sources as Pillow makes them."""
    scores = []
    with av.open(str(video), "r") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % FPS != FPS // 2:
                continue
            rgb = letterboxed(photos[number // FPS].read_bytes())
            luma = np.asarray(rgb, np.float64) @ [0.2126, 0.7152, 0.0722] * 219 / 255 + 16
            plane = frame.planes[0]
            shown = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
            scores.append(ssim(shown[:, : plane.width], np.round(luma).astype(np.uint8)))
    assert len(scores) == len(photos)
    return scores


def enlarged(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Images of 8 to 48 megapixels, every fourth of them progressive."""
    made = []
    least, most = LARGE_MEGAPIXELS
    for number, photo in enumerate(photos[:LARGE]):
        image = Image.open(photo)
        pixels = 1e6 * (least + (most - least) * number / (LARGE - 1))
        scale = (pixels / (image.width * image.height)) ** 0.5
        large = image.resize((round(image.width * scale), round(image.height * scale)))
        made.append(folder / f"large-{number:02}.jpg")
        large.save(made[-1], "JPEG", quality=90, progressive=number % 4 == 3)
    return made


@contextmanager
def served(photos: Path) -> Iterator[str]:
    """The image server, in a process of its own; where it is."""
    argv = [sys.executable, "-m", "kon.kinds.video.server", str(photos), "--port", "0"]
    argv += ["--latency-ms", str(LATENCY_MS), "--rate", str(RATE_BYTES_S)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def on_wallpapers(folder: Path, originals: Sequence[Path]) -> Likeness | None:
    """What a video of large pictures is like; None where there are none."""
    if not originals:
        return None
    with served(originals[0].parent) as base:
        links = [f"{base}{quote(each.name)}" for each in originals]
        scores = likeness(Path(ended(start("kon", links, folder))["path"]), originals)
    return likeness_of(scores)


def compare(folder: Path, originals: Sequence[Path], quick: bool) -> Compared:
    images = folder / "images"
    images.mkdir()
    photos = [images / f"photo-{number:02}.jpg" for number in range(len(originals))]
    for original, photo in zip(originals, photos, strict=True):
        shutil.copy(original, photo)
    large = enlarged(photos, images)
    ways = ["older"] if quick else ["older", "older, kon's preset"]
    ways += ["kon"] * (1 if quick else ROUNDS)
    took: dict[str, list[dict[str, Any]]] = {}
    with served(images) as base:
        links = [f"{base}{photo.name}" for photo in photos]
        for number, way in enumerate(ways):
            print(f"[{number + 1}/{len(ways) + 2}] {way}", file=sys.stderr)
            took.setdefault(way, []).append(ended(start(way, links, folder / f"way-{number}")))
        print(f"[{len(ways) + 1}/{len(ways) + 2}] {PARALLEL} workers at once", file=sys.stderr)
        crew = [start("kon, in a row", links, folder / f"crew-{number}") for number in range(PARALLEL)]
        together = [ended(process) for process in crew]
        print(f"[{len(ways) + 2}/{len(ways) + 2}] very large images", file=sys.stderr)
        vast = ended(start("kon", [f"{base}{each.name}" for each in large], folder / "large"))
    rows = []
    for way, rounds in took.items():
        figures = {
            name: statistics.median(each[name] for each in rounds)
            for name in ("wall_s", "cpu_s", "peak_mb", "mb")
        }
        found = likeness_of(likeness(Path(rounds[0]["path"]), photos))
        rows.append({"way": way, **figures, "ssim_mean": found.ssim_mean, "ssim_min": found.ssim_min})
    kon_s = [each["wall_s"] for each in took["kon"]]
    return Compared(
        rows=rows,
        photos_mb=sum(each.stat().st_size for each in photos) / 1e6,
        kon_wall_s=(min(kon_s), max(kon_s)),
        jobs_a_minute=60 * PARALLEL * JOBS_EACH / max(each["wall_s"] for each in together),
        cpu_s_a_job=sum(each["cpu_s"] for each in together) / (PARALLEL * JOBS_EACH),
        peak_mb=max(each["peak_mb"] for each in together),
        large_peak_mb=vast["peak_mb"],
        wallpapers=on_wallpapers(folder / "wallpapers", wallpapers(WALLPAPERS)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.animoto", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, and the two ways that matter")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/animoto.md as well")
    parser.add_argument("--photos", type=Path, default=FOLDER, help="of `make photos`, or a folder of yours")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        way, folder, *links = args.measure
        measure(way, links, Path(folder))
        return
    if args.write and args.quick:
        parser.error("--write is for the whole: not with --quick")
    try:
        originals = photo_set(args.photos)
    except NoPhotos as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="kon-benchmark-") as name:
        compared = compare(Path(name), originals, args.quick)
    print(text(compared))
    if args.write:
        print(f"written: {write(compared)}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Videos from links: kon beside the older systems' way. `python -m benchmarks.animoto [--quick]`

Images come from a server with 100 ms latency and 2 MB/s a connection, and videos go to a store that takes
5 MB/s. Each measurement is made in an interpreter of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import resource
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

import av
import numpy as np
from PIL import Image
from tabulate import tabulate

from benchmarks.photos import PHOTOS, real_photos, write_set
from benchmarks.similarity import ssim
from kon.animoto.planes import fitted
from kon.backends.folder import FolderObjects
from kon.kind import Attempt
from kon.kinds.animoto import Animoto

LATENCY_MS: Final = 100
RATE_BYTES_S: Final = 2_000_000
UPLOAD_BYTES_S: Final = 5_000_000
PARALLEL: Final = 4
JOBS_EACH: Final = 3
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


def measure(way: str, base: str, folder: Path) -> None:
    """Do it, and print what it took; for a process of its own."""
    links = [f"{base}photo-{number:02}.jpg" for number in range(PHOTOS)]
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    path = WAYS[way](links, folder)
    took = {"wall_s": time.monotonic() - began_s, "cpu_s": time.process_time() - began_cpu_s}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**took, "peak_mb": peak_mb, "mb": path.stat().st_size / 1e6, "path": str(path)}))


def start(way: str, base: str, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    argv = [sys.executable, "-m", "benchmarks.animoto", "--measure", way, base, str(folder)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a measurement ended with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def likeness(video: Path, photos: Path) -> tuple[float, float]:
    """Mean and least SSIM of luma, against the letterboxed sources as Pillow makes them."""
    scores = []
    with av.open(str(video), "r") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % FPS != FPS // 2:
                continue
            rgb = letterboxed((photos / f"photo-{number // FPS:02}.jpg").read_bytes())
            luma = np.asarray(rgb, np.float64) @ [0.2126, 0.7152, 0.0722] * 219 / 255 + 16
            plane = frame.planes[0]
            shown = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
            scores.append(ssim(shown[:, : plane.width], np.round(luma).astype(np.uint8)))
    assert len(scores) == PHOTOS
    return sum(scores) / PHOTOS, min(scores)


@contextmanager
def served(photos: Path) -> Iterator[str]:
    """The image server, in a process of its own; where it is."""
    argv = [sys.executable, "-m", "kon.animoto.server", str(photos), "--port", "0"]
    argv += ["--latency-ms", str(LATENCY_MS), "--rate", str(RATE_BYTES_S)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def compare(folder: Path, photos: Path, quick: bool) -> str:
    ways = ["older", "kon"] if quick else ["older", "older, kon's preset", "kon"]
    rows, found = [], {}
    with served(photos) as base:
        for number, way in enumerate(ways):
            took = found[way] = ended(start(way, base, folder / f"way-{number}"))
            mean, least = likeness(Path(took["path"]), photos)
            figures = [took[name] for name in ("wall_s", "cpu_s", "peak_mb", "mb")]
            rows.append([way, *figures, mean, least])
        began_s = time.monotonic()
        crew = [start("kon, in a row", base, folder / f"crew-{number}") for number in range(PARALLEL)]
        together = [ended(process) for process in crew]
        wall_s = time.monotonic() - began_s
    heads = ["way", "wall s", "CPU s", "peak MB", "video MB", "SSIM mean", "SSIM min"]
    table = tabulate(rows, heads, floatfmt=("", ".1f", ".1f", ".0f", ".1f", ".4f", ".4f"))
    jobs = PARALLEL * JOBS_EACH
    rate = 60 * jobs / max(each["wall_s"] for each in together)
    faster = found["older"]["wall_s"] / found["kon"]["wall_s"]
    cheaper = found["older"]["cpu_s"] / found["kon"]["cpu_s"]
    return (
        f"{table}\n\nkon is {faster:.1f}x as fast (wanted: 12) and takes {cheaper:.1f}x less CPU "
        "(wanted: 10).\n"
        f"{PARALLEL} workers at once, {jobs} jobs: {rate:.0f} a minute (wanted: 30), "
        f"{sum(each['cpu_s'] for each in together) / jobs:.1f} CPU s a job, "
        f"{max(each['peak_mb'] for each in together):.0f} MB at most (wanted: 400); "
        f"{60 * jobs / wall_s:.0f} a minute with the start of the processes."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.animoto", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the older way at kon's preset")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="real photos, in place of packages'")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        way, base, folder = args.measure
        measure(way, base, Path(folder))
        return
    with tempfile.TemporaryDirectory(prefix="kon-benchmark-") as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        real = real_photos(args.photos)
        size_mb = write_set(photos, real) / 1e6
        print(f"{PHOTOS} photos made of {len(real)} real ones, {size_mb:.1f} MB", file=sys.stderr)
        print(compare(Path(name), photos, args.quick))


if __name__ == "__main__":
    main()

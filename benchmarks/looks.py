"""Each look of videos: kon next to ffmpeg's filters and moviepy. `make bench-looks ARGS=--write`

All get the same pictures, kon's made-up ones, from the disk, and x264's preset superfast with crf 25. Each
measurement is made in an interpreter of its own; imports are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
from tabulate import tabulate

from benchmarks.peak_memory import own_peak_mb
from kon.backends.folder import FolderObjects
from kon.core.kind import Attempt
from kon.kinds.animoto import Animoto
from kon.kinds.video import demo
from kon.kinds.video.fonts import OWN

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "animoto.md"
MOVIEPY: Final = ROOT / ".cache" / "bench-looks" / "bin" / "python"
SIZE: Final = (1920, 1080)
SMALL: Final = (480, 270)
FPS: Final = 25
PASSING_S: Final = 0.4
IMAGES: Final = 12


class Look(NamedTuple):
    """options: of kon. filters: those of ffmpeg for one image, after it has its size. between: of xfade.

    size, fps: of the video.
    """

    options: dict[str, Any]
    filters: Sequence[str] = ()
    between: str = ""
    code: Sequence[str] = ("-c:v", "libx264", "-preset", "superfast", "-crf", "25")
    size: tuple[int, int] = SIZE
    fps: int = FPS
    suffix: str = "mp4"


_ZOOM: Final = f"zoompan=z='1+0.1*on/{FPS}':x='(iw-iw/zoom)/2':y='(ih-ih/zoom)/2':d=1:s=1920x1080:fps={FPS}"
_DIP: Final = (f"fade=in:st=0:d={PASSING_S / 2}", f"fade=out:st={1 - PASSING_S / 2}:d={PASSING_S / 2}")
_BLUR: Final = (
    "split[a][b];[a]scale=1920:1080:force_original_aspect_ratio=increase,crop=1920:1080,gblur=sigma=40[c];"
    "[b]scale=1920:1080:force_original_aspect_ratio=decrease[d];[c][d]overlay=(W-w)/2:(H-h)/2"
)
_VP9: Final = ("-c:v", "libvpx-vp9", "-crf", "31", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8")

LOOKS: Final[dict[str, Look]] = {
    "still": Look({}),
    "crossfade": Look({"crossfade_s": PASSING_S}, between="fade"),
    "slide": Look({"transition": "slide_left", "transition_s": PASSING_S}, between="slideleft"),
    "dip": Look({"transition": "dip_black", "transition_s": PASSING_S}, _DIP),
    "zoom": Look({"zoom": 1.1}, (_ZOOM,)),
    "blur": Look({"fit": "blur"}, (_BLUR,)),
    "title": Look({"title": "Our summer"}),
    "webm": Look({"format": "webm"}, code=(*_VP9, "-row-mt", "1"), suffix="webm"),
    "gif": Look(
        {"format": "gif", "size": "480x270", "fps": 10, "crossfade_s": PASSING_S},
        between="fade",
        code=(),
        size=SMALL,
        fps=10,
        suffix="gif",
    ),
}


def by_kon(look: Look, images: Sequence[Path], folder: Path) -> Path:
    async def main() -> str:
        objects = FolderObjects(folder)
        kind = Animoto({"allow": ["file"], "min_images": len(images), **look.options})
        try:
            await kind.open(objects)
            result = await kind.execute([each.as_uri() for each in images], Attempt("benchmark", 0, 1))
        finally:
            await kind.close()
            await objects.close()
        return str(result["key"])

    return folder / asyncio.run(main())


def by_ffmpeg(look: Look, images: Sequence[Path], folder: Path) -> Path:
    made = folder / f"video.{look.suffix}"
    said = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    for number, image in enumerate(images):
        more_s = PASSING_S if look.between and number else 0
        said += ["-loop", "1", "-framerate", str(look.fps), "-t", f"{1 + more_s:g}", "-i", str(image)]
    subprocess.run(
        [*said, "-filter_complex", ";".join(_graph(look, len(images))), "-map", "[v]", *look.code, str(made)],
        check=True,
    )
    return made


def _graph(look: Look, count: int) -> list[str]:
    width, height = look.size
    box = (
        f"scale={width}:{height}:force_original_aspect_ratio=decrease,"
        f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
    )
    each = ",".join([*(() if look.filters == (_BLUR,) else (box,)), *look.filters])
    parts = []
    for number in range(count):
        # the names of links inside a filter have to be unique
        own = each.replace("[a]", f"[a{number}]").replace("[b]", f"[b{number}]")
        own = own.replace("[c]", f"[c{number}]").replace("[d]", f"[d{number}]")
        parts.append(f"[{number}:v]{own},setsar=1,fps={look.fps},format=yuv420p[i{number}]")
    names = [f"i{number}" for number in range(count)]
    if look.options.get("title"):
        parts.append(
            f"color=black:s={width}x{height}:r={look.fps}:d=3,drawtext=fontfile={OWN}:text='Our summer':"
            "fontsize=97:fontcolor=white:borderw=8:x=(w-tw)/2:y=(h-th)/2,setsar=1,format=yuv420p[t]"
        )
        names.insert(0, "t")
    if not look.between:
        parts.append("".join(f"[{name}]" for name in names) + f"concat=n={len(names)}[w]")
    else:
        before = names[0]
        for number in range(1, count):
            after = "w" if number == count - 1 else f"x{number}"
            offset = f"{number - PASSING_S:g}"
            parts.append(
                f"[{before}][i{number}]xfade=transition={look.between}:duration={PASSING_S}:offset={offset}"
                f"[{after}]"
            )
            before = after
    if look.suffix == "gif":
        parts.append(
            "[w]split[p][q];[p]palettegen=stats_mode=single[r];[q][r]paletteuse=new=1:dither=bayer[v]"
        )
    else:
        parts.append("[w]null[v]")
    return parts


def by_moviepy(name: str, images: Sequence[Path], folder: Path) -> dict[str, Any]:
    script = Path(__file__).parent / "peers" / "moviepy_looks.py"
    argv = [str(MOVIEPY), str(script), name, str(folder), str(OWN), *map(str, images)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def measure(way: str, name: str, folder: Path, images: Sequence[Path]) -> dict[str, Any]:
    """What it took; for a process of its own."""
    if way == "moviepy":
        return by_moviepy(name, images, folder)
    make: Callable[[Look, Sequence[Path], Path], Path] = {"kon": by_kon, "ffmpeg": by_ffmpeg}[way]
    began_s, began_cpu_s = time.monotonic(), _cpu_s()
    path = make(LOOKS[name], images, folder)
    took = {"wall_s": time.monotonic() - began_s, "cpu_s": _cpu_s() - began_cpu_s}
    child_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {**took, "peak_mb": child_mb if way == "ffmpeg" else own_peak_mb(), "path": str(path)}


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def row(way: str, name: str, images: Sequence[Path], folder: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "benchmarks.looks", "--measure", way, name, str(folder), *map(str, images)]
    folder.mkdir()
    took: dict[str, Any] = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    path = Path(took.pop("path"))
    look = LOOKS[name]
    with av.open(str(path), "r") as container:
        assert container.duration is not None
        seconds = container.duration / 1e6
    wanted_s = len(images) + (3 if look.options.get("title") else 0)
    if abs(seconds - wanted_s) > (len(images) + 1) / look.fps:  # overlay drops one of each image
        raise RuntimeError(f"{way} made {seconds:g} s of {name} in place of {wanted_s}")
    return {**took, "mb": path.stat().st_size / 1e6}


def compare(images: int, looks: Sequence[str], ways: Sequence[str]) -> str:
    rows = []
    with tempfile.TemporaryDirectory(prefix="kon-looks-") as name:
        folder = Path(name)
        pictures = [folder / f"{number:02}.jpg" for number in range(1, images + 1)]
        for number, picture in enumerate(pictures, start=1):
            picture.write_bytes(demo.picture(number))
        for look in looks:
            took = {}
            for way in ways:
                print(f"{look}: {way}", file=sys.stderr)
                took[way] = row(way, look, pictures, folder / f"{look}-{way}")
                said = ", ".join(f"{name} {value:.2f}" for name, value in took[way].items())
                print(f"  {said}", file=sys.stderr)
            rows.append(_figures(look, took, ways))
    heads = ["look", "CPU s", *ways[1:], "peak MB"]
    table = tabulate(rows, heads, tablefmt="github", floatfmt=("", ".2f"))
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{table}\n\n{images} pictures, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}, load {load}. "
        f"{' and '.join(ways[1:])}: CPU by kon's. Peaks: {', '.join(ways)}."
    )


def _figures(look: str, took: dict[str, dict[str, Any]], ways: Sequence[str]) -> list[Any]:
    """One line: kon's CPU time, how many times as much each other way takes, and everyone's memory."""
    kon = took["kon"]
    others = [f"{took[way]['cpu_s'] / kon['cpu_s']:.1f}x" for way in ways[1:]]
    return [look, kon["cpu_s"], *others, "/".join(f"{took[way]['peak_mb']:.0f}" for way in ways)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.looks", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES, help=f"pictures in each video ({IMAGES})")
    parser.add_argument("--look", action="append", choices=LOOKS, help="only this one; may come again")
    parser.add_argument("--write", action="store_true", help="write the table into docs/animoto.md as well")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        way, look, folder, *images = args.measure
        print(json.dumps(measure(way, look, Path(folder), [Path(each) for each in images])))
        return
    if args.write and args.look:
        parser.error("--write is for all looks: not with --look")
    ways = ["kon"]
    if shutil.which("ffmpeg"):
        ways.append("ffmpeg")
    if MOVIEPY.exists():
        ways.append("moviepy")
    if args.write and len(ways) < 3:
        parser.error("--write needs ffmpeg (`make browser-tools`) and moviepy (`make bench-looks`)")
    text = compare(args.images, args.look or list(LOOKS), ways)
    print(text)
    if args.write:
        page = PAGE.read_text()
        before, _, rest = page.partition("<!-- looks: begin -->\n")
        _, end, after = rest.partition("<!-- looks: end -->")
        PAGE.write_text(f"{before}<!-- looks: begin -->\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    main()

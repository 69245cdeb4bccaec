"""moviepy makes a look; run by `benchmarks.looks`, in the virtualenv of `make bench-looks`, without kon.

As favourable to moviepy as can be: pictures have their size before any clip is made, and imports are not
counted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from moviepy import ColorClip, CompositeVideoClip, ImageClip, TextClip, concatenate_videoclips, vfx
from PIL import Image, ImageFilter, ImageOps

PASSING_S = 0.4
SIZE, SMALL = (1920, 1080), (480, 270)


def clip_of(path: str, size: tuple[int, int], blur: bool) -> Any:
    image = Image.open(path).convert("RGB")
    if not blur:
        return ImageClip(np.asarray(ImageOps.pad(image, size))).with_duration(1)
    behind = ImageOps.fit(image, size).filter(ImageFilter.GaussianBlur(40))
    front = ImageOps.contain(image, size)
    behind.paste(front, ((size[0] - front.width) // 2, (size[1] - front.height) // 2))
    return ImageClip(np.asarray(behind)).with_duration(1)


def film(look: str, paths: list[str], font: str) -> Any:
    size = SMALL if look == "gif" else SIZE
    clips = [clip_of(path, size, look == "blur") for path in paths]
    last = len(clips) - 1
    if look in ("crossfade", "gif"):
        shown = [
            clip.with_duration(1 + (PASSING_S if number else 0))
            .with_start(max(0, number - PASSING_S))
            .with_effects([vfx.CrossFadeIn(PASSING_S)] if number else [])
            for number, clip in enumerate(clips)
        ]
        return CompositeVideoClip(shown, size=size)
    if look == "slide":
        shown = []
        for number, clip in enumerate(clips):
            effects = [vfx.SlideIn(PASSING_S, "right")] if number else []
            effects += [vfx.SlideOut(PASSING_S, "left")] if number < last else []
            placed = clip.with_duration(1 + (PASSING_S if number else 0))
            shown.append(
                CompositeVideoClip([placed.with_effects(effects)], size=size).with_start(
                    max(0, number - PASSING_S)
                )
                if not effects
                else placed.with_start(max(0, number - PASSING_S)).with_effects(effects)
            )
        return CompositeVideoClip(shown, size=size).with_duration(len(clips))
    if look == "dip":
        half = PASSING_S / 2
        clips = [clip.with_effects([vfx.FadeIn(half), vfx.FadeOut(half)]) for clip in clips]
    if look == "zoom":
        clips = [
            CompositeVideoClip(
                [clip.with_effects([vfx.Resize(lambda t: 1 + 0.1 * t)]).with_position("center")], size=size
            ).with_duration(1)
            for clip in clips
        ]
    if look == "title":
        text = TextClip(font=font, text="Our summer", font_size=97, color="white", stroke_width=4)
        card = ColorClip(size, (0, 0, 0)).with_duration(3)
        clips.insert(0, CompositeVideoClip([card, text.with_duration(3).with_position("center")], size=size))
    return concatenate_videoclips(clips, method="chain")


def main() -> None:
    look, folder, font, *paths = sys.argv[1:]
    began_s, began_cpu_s = time.monotonic(), cpu_s()
    made = film(look, paths, font)
    if look == "gif":
        path = Path(folder) / "video.gif"
        made.write_gif(str(path), fps=10, logger=None)
    elif look == "webm":
        path = Path(folder) / "video.webm"
        more = ["-crf", "31", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1"]
        made.write_videofile(
            str(path), fps=25, codec="libvpx-vp9", audio=False, logger=None, ffmpeg_params=more
        )
    else:
        path = Path(folder) / "video.mp4"
        made.write_videofile(
            str(path),
            fps=25,
            codec="libx264",
            preset="superfast",
            audio=False,
            logger=None,
            ffmpeg_params=["-crf", "25"],
        )
    peak_kb = sum(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    took = {"wall_s": time.monotonic() - began_s, "cpu_s": cpu_s() - began_cpu_s, "peak_mb": peak_kb / 1024}
    print(json.dumps({**took, "path": str(path)}))


def cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

"""What tests of the kind `image` share: a picture made of another one, and how one is refused."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import KindError
from kon.kinds import image as image_kind
from tests.kinds.running import attempt
from tests.kinds.video.given import photo


def made(data: bytes, folder: Path, **options: Any) -> tuple[Any, Image.Image]:
    """The result, and the picture that it names."""

    async def main() -> Any:
        objects = MemoryObjects()
        kind = image_kind.Image(options)
        kind.check("in/picture")
        await kind.open(objects)
        try:
            (folder / "given").write_bytes(data)
            await objects.put("in/picture", folder / "given")
            result = await kind.execute("in/picture", attempt(index=7))
            await objects.get(result["key"], folder / "got")
            return result
        finally:
            await kind.close()

    result = asyncio.run(main())
    picture = Image.open(io.BytesIO((folder / "got").read_bytes()))
    picture.load()
    return result, picture


def refused(data: bytes, folder: Path, says: str, **options: Any) -> None:
    with pytest.raises(KindError, match=says):
        made(data, folder, **({"equalize": "global"} | options))


def dark() -> Image.Image:
    """Of little contrast, so that there is something to be done."""
    return photo(320, 240).point(lambda level: 40 + level // 4)


def pixels(picture: Image.Image) -> npt.NDArray[np.int_]:
    return np.asarray(picture).astype(int)

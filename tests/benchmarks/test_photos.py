"""Photos out of packages: pinned by hash, or none at all; made-up ones only when asked for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks import photos
from benchmarks.photo_packages import WHEELS, NoPhotos, photographs
from tests.kinds.video.given import encoded, photo


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def forged(index: Path, package: str) -> None:
    wheel = next(each for each in WHEELS if each.package == package)
    name = f"{package.replace('-', '_')}-{wheel.version}"
    with zipfile.ZipFile(index / f"{name}-cp311-cp311-manylinux_2_17_x86_64.whl", "w") as file:
        file.writestr(f"{name}.dist-info/METADATA", f"Name: {package}\nVersion: {wheel.version}\n")
        for each in wheel.photos:
            file.writestr(each, encoded(photo()))


def test_without_the_packages_what_is_there_stays_and_the_message_says_what_to_do(
    index: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(NoPhotos, match=r"(?s)scikit-image .* can't be had: .*--photos; .*ARGS=--made-up"):
        photos.make(tmp_path / "photos", made_up=False)
    assert [each.name for each in (tmp_path / "photos").iterdir()] == ["mine.jpg"]


def test_a_package_with_another_hash_is_refused(index: Path) -> None:
    forged(index, "scikit-image")
    with pytest.raises(NoPhotos, match=r"(?s)can't be had: .*HASHES"):
        list(photographs())


@pytest.mark.long
def test_a_set_is_the_same_each_time_and_large_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "PHOTOS", 12)  # of each size and form
    contents, found = [], list[Path]()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        photos.write_set(tmp_path / name, [photo(300, 200, part) for part in range(3)])
        found = photos.photo_set(tmp_path / name)
        assert len(found) == photos.PHOTOS
        contents.append([each.read_bytes() for each in found])
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == photos.PHOTOS
    found[7].unlink()
    with pytest.raises(NoPhotos, match=r"has 11 photos .*, and 12 are needed: `make photos` gets them"):
        photos.photo_set(tmp_path / "two")

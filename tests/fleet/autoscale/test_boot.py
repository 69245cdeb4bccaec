"""What a host that configures itself unpacks and runs: the very files that `kon equip` has put there."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from kon.fleet.autoscale.equipment import Equipment, FleetBucket, Links, user_data
from kon.fleet.clients import Clients

INSTALL = "touch $PLACE_MARK; exit 7\n"  # 7: the rest of the script is about the host, which is this machine


def bundle(script: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("install.sh")
        info.size = len(script)
        tar.addfile(info, io.BytesIO(script.encode()))
    return out.getvalue()


def booted(tmp_path: Path, served: bytes, sha256: str) -> subprocess.CompletedProcess[str]:
    """The script of a host, with a curl that serves the bundle."""
    (tmp_path / "served").write_bytes(served)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "curl").write_text(
        f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp {tmp_path}/served "$2"\n'
    )
    (tools / "curl").chmod(0o755)
    equipment = Equipment("d1", str(tmp_path / "home"), str(tmp_path / "state"), [], "", "0", sha256)
    whole = user_data("#!/bin/sh\n", "r1", 1, equipment, Links("https://a", "", "https://b"))
    script = whole.partition("<<'KON_BOOT'\n")[2].partition("KON_BOOT\n")[0]
    path = {"PATH": f"{tools}:{os.environ['PATH']}", "PLACE_MARK": str(tmp_path / "ran")}
    return subprocess.run(["sh", "-c", script], env=path, text=True, capture_output=True, timeout=60)


def test_what_was_put_there_is_run(tmp_path: Path) -> None:
    served = bundle(INSTALL)
    done = booted(tmp_path, served, hashlib.sha256(served).hexdigest())
    assert done.returncode == 7, done.stderr
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("sha256", ["", hashlib.sha256(bundle(INSTALL)).hexdigest()])
def test_what_a_task_has_put_in_its_place_is_not(tmp_path: Path, sha256: str) -> None:
    """A worker's credentials once could write it; whatever lies there was then run as root."""
    done = booted(tmp_path, bundle(f"# mine\n{INSTALL}"), sha256)
    assert done.returncode == 1
    assert "is not what kon equip has put there" in done.stdout
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "home" / "d1" / "install.sh").exists(), "not even unpacked"


def test_the_digests_stand_in_what_is_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put: dict[str, bytes] = {}

    class Store:
        def upload_file(self, file: str, bucket: str, key: str) -> None:
            put[key] = Path(file).read_bytes()

        def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
            put[Key] = Body

    monkeypatch.setattr(FleetBucket, "equipment", lambda self: None)
    monkeypatch.setattr(FleetBucket, "name", "b")
    file = tmp_path / "bundle"
    file.write_bytes(b"whole")
    place = FleetBucket(lambda service: Store(), "r1")  # type: ignore[arg-type]
    assert place.equip(Equipment("d1", "/h", "/s", [], ".fleet/p.tar", "0"), file, b"payload")
    told = msgspec.json.decode(put[".fleet/equipment.json"], type=Equipment)
    assert told.bundle_sha256 == hashlib.sha256(b"whole").hexdigest()
    assert told.payload_sha256 == hashlib.sha256(b"payload").hexdigest()


def test_a_hosts_links_name_the_buckets_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr(FleetBucket, "name", "konf-r1-1-eu-central-1")
    aws = Clients("eu-central-1")
    place = FleetBucket(aws, "r1")
    start = "https://konf-r1-1-eu-central-1.s3.eu-central-1.amazonaws.com/.fleet/"
    assert place.link(".fleet/d1.tar", 60).startswith(start)
    assert place.mark_link("m", 60).startswith(start)
    aws.close()

"""The base image: a Debian root with what Amazon's Debian image has, built once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.lab.machine import Machine, unreached

MIRRORS: Final = {
    "bookworm": "http://deb.debian.org/debian",
    "trixie": "http://deb.debian.org/debian",
    "noble": "http://archive.ubuntu.com/ubuntu",
}
"""Distributions that hosts may have, and where their packages are: Debian 12 and 13, Ubuntu 24.04."""

SUITE: Final = os.environ.get("LAB_SUITE", "bookworm")

MIRROR: Final = MIRRORS[SUITE]

_UBUNTUS: Final = "/usr/share/debootstrap/scripts/gutsy"
"""debootstrap's script for every Ubuntu; a Debian's debootstrap has no link for later ones."""

PACKAGES: Final = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd-sysv",
)

USER: Final = "admin"
"""Who logs in, as on Amazon's Debian image."""

USER_ID: Final = 1000

USER_DATA: Final = "/var/lib/cloud/user-data"

_FILES: Final = {
    f"etc/sudoers.d/90-{USER}": f"{USER} ALL=(ALL) NOPASSWD:ALL\n",
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 100\nPasswordAuthentication no\n"
    ),
    "etc/systemd/system/user-data.service": f"""\
[Unit]
Description=User data, at the first boot
After=network.target
ConditionPathExists={USER_DATA}
ConditionPathExists=!{USER_DATA}.done
[Service]
Type=oneshot
ExecStart=/bin/sh -c '{USER_DATA} >/var/log/user-data.log 2>&1; touch {USER_DATA}.done'
""",
}

_LINKS: Final = {
    "default.target": "/usr/lib/systemd/system/multi-user.target",
    "multi-user.target.wants/user-data.service": "../user-data.service",
    # nothing that a host without hardware, or one that lives for minutes, has use for
    **dict.fromkeys(
        (
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "console-getty.service",
            "e2scrub_all.timer",
            "e2scrub_reap.service",
            "fstrim.timer",
            "getty@tty1.service",
            "systemd-timesyncd.service",
        ),
        "/dev/null",
    ),
}


def recipe() -> str:
    """What tells one image from another that was built differently."""
    text = repr((SUITE, PACKAGES, USER, USER_ID, _FILES, _LINKS))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unavailable(home: Path, machine: Machine) -> list[str]:
    """Why there is no image and none can be built; nothing where it is there."""
    if _place(home).exists():
        return []
    why = unreached(f"{MIRROR}/dists/{SUITE}/InRelease", machine)
    return [f"the base image is not built yet, and {why}"] if why else []


def _place(home: Path) -> Path:
    return home / f"{SUITE}-{recipe()}"


def base_image(home: Path, machine: Machine) -> Path:
    """The image's folder, built if need be, which takes a minute or two.

    Raises CalledProcessError where debootstrap fails; its log is in `home`.
    """
    image = _place(home)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            for old in home.glob(f"{SUITE}-*"):
                shutil.rmtree(old)
            fresh = home / f"{SUITE}-being-built"
            _build(fresh, home / "image.log", machine)
            fresh.rename(image)
    return image


def _build(root: Path, log: Path, machine: Machine) -> None:
    print(f"building the lab's base image; its log is {log}", flush=True)
    proxy = machine.http_proxy
    environment = {**os.environ, **({"http_proxy": proxy} if proxy else {})}
    include = f"--include={','.join(PACKAGES)}"
    script = [_UBUNTUS] if "ubuntu" in MIRROR else []
    with log.open("wb") as output:
        subprocess.run(
            ["debootstrap", "--variant=minbase", include, SUITE, str(root), MIRROR, *script],
            stdout=output,
            stderr=output,
            env=environment,
            check=True,
        )
        subprocess.run(
            ["chroot", str(root), "useradd", "-m", "-u", str(USER_ID), "-s", "/bin/bash", USER],
            stdout=output,
            stderr=output,
            check=True,
        )
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    units = root / "etc/systemd/system"
    for name, target in _LINKS.items():
        link = units / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

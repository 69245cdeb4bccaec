"""What runs keep of the machine that made them."""

from __future__ import annotations

import os
import platform
import subprocess

import pytest

from kon.launch.context import system


def test_the_system_is_named_as_python_names_it() -> None:
    assert system() == platform.platform()


def test_no_process_is_started_for_the_systems_name(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
        pytest.skip("Python is asked where there is no glibc")

    def start(*args: object, **options: object) -> None:
        raise AssertionError(f"a process was started: {args}")

    monkeypatch.setattr(subprocess, "Popen", start)
    assert system().startswith("Linux-")


@pytest.mark.parametrize("answer", [None, "", "musl 1.2"])
def test_without_glibc_python_is_asked(answer: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: answer, raising=False)
    monkeypatch.setattr(platform, "platform", lambda: "Elsewhere-1.0")
    assert system() == "Elsewhere-1.0"


def test_without_confstr_python_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "confstr")
    monkeypatch.setattr(platform, "platform", lambda: "macOS-14.5-arm64")
    assert system() == "macOS-14.5-arm64"

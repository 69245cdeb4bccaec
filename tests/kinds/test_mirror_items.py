"""Items of the kind `mirror`: links, keys, numbered links, and bodies that no attempt could copy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError
from kon.experiment import load
from kon.kinds.mirror import Mirror, expanded, key_of, parse_item
from kon.kinds.stored import count_of, numbered

SHA256 = "0a" * 32


@pytest.mark.parametrize(
    ("link", "key"),
    [
        ("https://Host.example/a/b%20c.jpg", "mirror/host.example/a/b%20c.jpg"),
        ("http://user:secret@host:8080/a.jpg#top", "mirror/host_8080/a.jpg"),
        ("pictures/a.jpg", "mirror/pictures/a.jpg"),
        ("https://h/a/../../etc/passwd", r"mirror/h/a/etc/passwd-[0-9a-f]{16}"),
        ("https://h/a?size=2", r"mirror/h/a-[0-9a-f]{16}"),
        ("https://h/a//b.jpg", r"mirror/h/a/b-[0-9a-f]{16}\.jpg"),
        ("https://h/", r"mirror/h/index-[0-9a-f]{16}"),
        ("https://h", r"mirror/h/index-[0-9a-f]{16}"),
        ("https://h/..", r"mirror/h/\.\.-[0-9a-f]{16}"),
        ("https://h/grüße\\x.jpg", r"mirror/h/gr__e_x-[0-9a-f]{16}\.jpg"),
        ("https://h/" + "a" * 300 + ".jpg", r"mirror/h/a{60}-[0-9a-f]{16}"),
    ],
)
def test_keys_are_made_of_links(link: str, key: str) -> None:
    Mirror({"images": "demo"}).check(link)
    made = key_of(parse_item(link), "mirror")
    assert made == key or re.fullmatch(key, made), made


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (7, "expected a link, or a mapping"),
        ("", "expected a link of up to"),
        ("https://h/a\nb", "expected a link of up to"),
        ("picture.jpg", "its link is relative"),
        ("file:///etc/passwd", "its link is a file:, which is refused$"),
        ("ftp://h/a", 'scheme "ftp"'),
        ("http://h:99999/", "Port out of range"),
        ({"link": "https://h/a", "key": "../a"}, "not a relative path"),
        ({"link": "https://h/a", "key": "k" * 900}, "800 bytes at most"),
        ({"link": "https://h/a", "checksum": "sha256:abc"}, "checksum: expected one of md5, sha1"),
        ({"link": "https://h/a", "checksum": "crc:abcd"}, "checksum: expected"),
        ({"link": "https://h/a", "size_bytes": -1}, "size_bytes: expected 0 or more"),
        ({"link": "https://h/a", "sum": "x"}, "sum"),
    ],
)
def test_bodies_that_no_attempt_could_copy(body: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Mirror({}).check(body)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tries": 0}, '"tries" of kind mirror: expected a whole number of at least 1'),
        ({"link_bytes": 0}, '"link_bytes" of kind mirror: expected'),
        ({"prefix": "../x"}, "not a relative path"),
        ({"allow": ["file"]}, "allow"),
        ({"timeout": 1}, 'unknown option "timeout"'),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Mirror(options)


def test_numbered_links() -> None:
    assert list(numbered("a-{008..011}.jpg")) == [
        f"a-{number}.jpg" for number in ("008", "009", "010", "011")
    ]
    assert list(numbered("{1..2}/{9..10}")) == ["1/9", "1/10", "2/9", "2/10"]
    assert list(numbered("{a..b}{}")) == ["{a..b}{}"]
    assert count_of("{1..1000}{1..1000}") == 1_000_000
    for pattern in ("{2..1}", "{1..100000000}"):
        with pytest.raises(ConfigurationError):
            count_of(pattern)
    both = expanded({"link": "http://h/{1..2}.jpg", "key": "k/{01..02}"})
    assert both is not None
    assert list(both()) == [{"link": f"http://h/{n}.jpg", "key": f"k/0{n}"} for n in (1, 2)]
    for more, says in (({"key": "one"}, "does not"), ({"checksum": "md5:0"}, "not the same")):
        with pytest.raises(ConfigurationError, match=says):
            expanded({"link": "http://h/{1..2}.jpg", **more})


def test_a_workload_of_patterns_lines_and_checksums(tmp_path: Path) -> None:
    (tmp_path / "links.txt").write_text(
        f"# mine\nhttps://h/{{1..3}}.jpg\nhttps://h/a.jpg sha256:{SHA256}\n"
        + '{"link": "https://h/b", "key": "b"}\n'
    )
    file = tmp_path / "exp.yml"
    file.write_text("name: x\nworkload: {kind: mirror, file: links.txt}\n")
    [experiment] = load(file)
    assert list(experiment.workload.bodies(1)) == [
        *(f"https://h/{number}.jpg" for number in (1, 2, 3)),
        {"link": "https://h/a.jpg", "checksum": f"sha256:{SHA256}"},
        {"link": "https://h/b", "key": "b"},
    ]
    file.write_text(
        "name: x\nworkload: {kind: mirror, items: ['https://h/{1..3}.jpg', 'https://h/{3..1}.jpg']}\n"
    )
    with pytest.raises(ConfigurationError, match=r"exp\.yml:2:\d+: .*\{3\.\.1\} go down"):
        load(file)

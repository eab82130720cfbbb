"""The demonstration in small: the same code, kibibytes instead of mebibytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import demo

SMALL = {"team/base": {"base": 30}, "team/web": {"base": 30, "web": 5}}


def test_the_demo_copies_proves_and_says_what_was_saved(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`make demo` ends with numbers that its own image set implies."""
    demo.run(tmp_path, SMALL, unit=1 << 10)
    out = capfd.readouterr().out
    assert "backend: " in out
    assert "proven     6 manifests and 10 blobs" in out
    assert "again      4 requests, 0 bytes" in out
    assert json.loads((tmp_path / "report.json").read_text())["counts"] == {"present": 2}


def test_the_images_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Seeded: two machines prove the same digests."""
    first, second = (demo.make_images(tmp_path / name, SMALL, unit=1 << 10) for name in "ab")
    assert first.tags == second.tags
    assert first.logical > first.unique > 70 << 10


def test_a_changed_byte_at_the_destination_is_no_proof(tmp_path: Path) -> None:
    """The proof reads the blobs, it does not ask whether they are there."""
    layout = demo.make_images(tmp_path / "source", SMALL, unit=1 << 10)
    blob = max(layout.blobs.iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    with demo.registries(tmp_path) as (source, _), pytest.raises(SystemExit, match="NOT PROVEN"):
        demo.Proof(source).check(layout.tags)


def test_a_tag_that_names_something_else_is_no_proof(tmp_path: Path) -> None:
    """What the tag must be comes from the image set, not from the registry."""
    layout = demo.make_images(tmp_path / "source", SMALL, unit=1 << 10)
    wrong = dict.fromkeys(layout.tags, layout.tags["team/base"])
    with demo.registries(tmp_path) as (source, _), pytest.raises(SystemExit, match="should be"):
        demo.Proof(source).check(wrong)


def test_the_working_directory_is_gone_afterwards(tmp_path: Path) -> None:
    """However the demo ends."""
    home = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt), demo.fresh(home) as there:
        (there / "something").write_text("")
        raise KeyboardInterrupt
    assert not home.exists()

"""The pictures of README and docs: small, all used, and all there."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest

from tests.docs.messages import ROOT

pytest.importorskip("PIL", reason="comes with the extra dev alone")

from PIL import Image

from tests.screenshots.pictures import REST, save, save_moving

IMAGES = ROOT / "docs" / "images"
LARGEST = 500_000  # bytes
LINK = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


def _shown() -> set[Path]:
    """The pictures that README and docs show."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [(page.parent / link) for page in pages for link in LINK.findall(page.read_text())]
    return {link.resolve() for link in links}


def test_each_picture_is_shown_and_there() -> None:
    assert _shown() == {path.resolve() for path in IMAGES.iterdir()}
    assert len(_shown()) >= 4


def test_they_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert {name: size for name, size in sizes.items() if size >= LARGEST} == {}


def test_the_readme_shows_one_that_moves() -> None:
    first, *_ = LINK.findall((ROOT / "README.md").read_text("utf-8"))
    with Image.open(ROOT / first) as picture:
        assert getattr(picture, "n_frames", 1) > 10


def _shot(colour: tuple[int, int, int], spot: tuple[int, int, int] = (217, 148, 28)) -> bytes:
    image = Image.new("RGB", (40, 30), colour)
    image.paste(spot, (0, 0, 4, 4))
    saved = BytesIO()
    image.save(saved, "PNG")
    return saved.getvalue()


def test_areas_keep_their_colours(tmp_path: Path) -> None:
    save(_shot((246, 247, 249)), tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as found:
        assert found.mode == "P"
        seen = found.convert("RGB")
        assert [seen.getpixel(at) for at in ((1, 1), (20, 20))] == [(217, 148, 28), (246, 247, 249)]


def test_what_does_not_change_is_one_frame(tmp_path: Path) -> None:
    white, green = _shot((255, 255, 255)), _shot((46, 158, 111))
    frames = [(white, 100), (white, 100), (green, 100), (white, 100)]
    save_moving(frames, tmp_path / "some.gif")
    with Image.open(tmp_path / "some.gif") as found:
        assert getattr(found, "n_frames", 1) == 3
        times = []
        for frame in range(3):
            found.seek(frame)
            times.append(found.info["duration"])
            assert found.convert("RGB").getpixel((1, 1)) == (217, 148, 28)
    assert times == [200, 100, REST]

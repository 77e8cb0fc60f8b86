"""Small pictures: few colours, and of a moving one only what changes."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

#: Enough for text with smooth edges on flat areas.
COLOURS = 64
#: Milliseconds for which the last frame of a moving picture is shown, before it begins anew.
REST = 2500

Frame = tuple[bytes, int]


def save(shot: bytes, path: Path) -> None:
    """Save a screenshot."""
    image = _opened(shot)
    _few_colours(image, _palette([image])).save(path, optimize=True)


def save_moving(frames: list[Frame], path: Path) -> None:
    """Save screenshots, each with the milliseconds for which it is shown."""
    kept = _without_repetitions(frames)
    images = [_opened(shot) for shot, _ in kept]
    palette = _palette(images)
    first, *others = [_few_colours(image, palette) for image in images]
    times = [time for _, time in kept[:-1]] + [REST]
    first.save(path, save_all=True, append_images=others, duration=times, loop=0, disposal=1)


def _opened(shot: bytes) -> Image.Image:
    return Image.open(BytesIO(shot)).convert("RGB")


def _without_repetitions(frames: list[Frame]) -> list[Frame]:
    kept: list[Frame] = []
    for shot, time in frames:
        if kept and kept[-1][0] == shot:
            kept[-1] = (shot, kept[-1][1] + time)
        else:
            kept.append((shot, time))
    return kept


def _palette(images: list[Image.Image]) -> Image.Image:
    """The colours that are there most, in all frames together: areas keep theirs exactly."""
    seen: Counter[Any] = Counter()
    for image in images:
        for count, colour in image.getcolors(image.width * image.height) or []:
            seen[colour] += count
    found = Image.new("P", (1, 1))
    chosen = [value for colour, _ in seen.most_common(COLOURS) for value in colour]
    found.putpalette(chosen + chosen[:3] * (256 - len(chosen) // 3))
    return found


def _few_colours(image: Image.Image, palette: Image.Image) -> Image.Image:
    return image.quantize(palette=palette, dither=Image.Dither.NONE)

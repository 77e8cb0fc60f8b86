"""Charts in SVG that can be read on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, LINE = 900, 300, 30, 76, 22
HEIGHT = 420  # of a chart with curves
NAMES = ("a", "b", "c", "d", "e", "f")
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.page { fill: #ffffff; } .grid { stroke: #d1d9e0; } .one { stroke: #59636e; }
.limit { stroke: #cf222e; stroke-width: 2.5; }
.a { fill: #0969da; stroke: #0969da; } .b { fill: #bc4c00; stroke: #bc4c00; }
.c { fill: #1a7f37; stroke: #1a7f37; } .d { fill: #8250df; stroke: #8250df; }
.e { fill: #bf3989; stroke: #bf3989; } .f { fill: #6e7781; stroke: #6e7781; }
.curve { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .small { fill: #9198a1; }
.page { fill: #0d1117; } .grid { stroke: #3d444d; } .one { stroke: #9198a1; }
.limit { stroke: #f85149; }
.a { fill: #58a6ff; stroke: #58a6ff; } .b { fill: #f0883e; stroke: #f0883e; }
.c { fill: #3fb950; stroke: #3fb950; } .d { fill: #bc8cff; stroke: #bc8cff; }
.e { fill: #f778ba; stroke: #f778ba; } .f { fill: #9198a1; stroke: #9198a1; }
.curve { fill: none; }
}
</style>"""


@dataclass(frozen=True)
class Dots:
    """One line of a chart of ratios: a dot for each series, and the limit if there is one."""

    name: str
    marks: Mapping[str, float]
    limit: float | None = None


class Axis:
    """A logarithmic axis from ``low`` to ``high``, drawn from the pixel ``start`` to ``end``."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        found = [value for value in values if value > 0] or [1.0]
        self.low, self.high = min(found) * 0.85, max(found) * 1.18
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2, 5, 10 and so on; only the powers of ten on a long axis."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1.0,) if last - first > 4 else (1.0, 2.0, 5.0)
        found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return [value for value in found if self.low <= value <= self.high]


def dots(title: str, rows: Sequence[Dots]) -> str:
    """A chart with one line for each row."""
    series = list(dict.fromkeys(name for row in rows for name in row.marks))
    values = [value for row in rows for value in (*row.marks.values(), row.limit or 1.0)]
    axis = Axis([*values, 1.0], LEFT, WIDTH - RIGHT)
    bottom = TOP + LINE * len(rows)
    parts = [
        _line(axis(value), TOP - 8, axis(value), bottom, "one" if value == 1 else "grid")
        + _text(axis(value), bottom + 16, f"{value:g}", "small", "middle")
        for value in axis.ticks()
    ]
    for number, row in enumerate(rows):
        y = TOP + LINE * number + LINE / 2
        parts.append(_text(LEFT - 12, y + 4, row.name, "", "end"))
        if row.limit is not None:
            parts.append(_line(axis(row.limit), y - 8, axis(row.limit), y + 8, "limit"))
        parts += [_dot(axis(row.marks[s]), y, n, f"{row.name}, {s}: {row.marks[s]:.2f}")
                  for n, s in enumerate(series) if s in row.marks]  # fmt: skip
    return _svg(title, series, parts, bottom + 28)


def curves(title: str, x_name: str, curves: Mapping[str, Mapping[int, float]]) -> str:
    """A chart with both axes logarithmic; each curve is given as its points."""
    across = Axis([x for curve in curves.values() for x in curve], 70, WIDTH - RIGHT)
    up = Axis([y for curve in curves.values() for y in curve.values()], HEIGHT - 40, TOP)
    parts = [
        _line(across(x), TOP, across(x), HEIGHT - 40, "grid")
        + _text(across(x), HEIGHT - 24, f"{x:,g}", "small", "middle")
        for x in across.ticks()
    ]
    parts += [
        _line(70, up(y), WIDTH - RIGHT, up(y), "grid")
        + _text(62, up(y) + 4, f"{y:,g}", "small", "end")
        for y in up.ticks()
    ]
    parts.append(_text((WIDTH + 40) / 2, HEIGHT - 6, x_name, "small", "middle"))
    for number, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve.items())
        parts.append(f'<polyline class="{NAMES[number]} curve" points="{points}"/>')
        parts += [_dot(across(x), up(y), number, f"{name}, {x:,g}: {y:,.3g}")
                  for x, y in curve.items()]  # fmt: skip
    return _svg(title, list(curves), parts, HEIGHT)


def _svg(title: str, series: Sequence[str], parts: Sequence[str], height: float) -> str:
    legend, x = [], 16.0
    for number, name in enumerate(series):
        legend.append(_dot(x, 46, number, name) + _text(x + 10, 50, name, "", "start"))
        x += 40 + 7.0 * len(name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
            f' role="img" aria-label="{escape(title)}">',
            _STYLE,
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}"/>',
            _text(10, 24, title, "", "start"),
            *legend,
            *parts,
            "</svg>\n",
        ]
    )


def _dot(x: float, y: float, number: int, title: str) -> str:
    """Shape and colour both tell the series."""
    shapes = (
        '<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>',
        '<rect x="{l:.1f}" y="{t:.1f}" width="8" height="8"/>',
        '<path d="M{x:.1f} {t:.1f}l4.5 8h-9z"/>',
        '<path d="M{x:.1f} {t:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>',
        '<path d="M{l:.1f} {t:.1f}l8 8m0 -8l-8 8" stroke-width="2.5"/>',
        '<path d="M{x:.1f} {t:.1f}v9m-4.5 -4.5h9" stroke-width="2.5"/>',
    )
    shape = shapes[number].format(x=x, y=y, l=x - 4, t=y - 4.5)
    return f'<g class="{NAMES[number]}"><title>{escape(title)}</title>{shape}</g>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )

"""What the benchmarks write, without running one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.__main__ import SECTIONS, chosen
from tests.benchmarks.chart import Axis, Dots, curves, dots
from tests.benchmarks.report import Section, table, write
from tests.benchmarks.requests import Result, measure
from tests.benchmarks.rows import Limits, Row
from tests.benchmarks.scaling import growth
from tests.benchmarks.sides import Answer

SVG = "{http://www.w3.org/2000/svg}"
DOTS = dots("A & B", [Dots("10 < 20", {"ours": 0.5, "theirs": 8.0}, 1.1), Dots("", {"ours": 1.0})])
CURVES = curves("t", "n", {"a": {10: 1.5, 10_000: 900.0}, "b": {10: 2.0, 100: 3.0}})


@pytest.mark.parametrize("chart", [DOTS, CURVES])
def test_a_chart_is_svg_for_light_and_for_dark_pages(chart: str) -> None:
    root = ElementTree.fromstring(chart)
    style = root.findtext(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in style


def test_a_dot_is_right_of_a_smaller_one() -> None:
    circles = ElementTree.fromstring(DOTS).iter(f"{SVG}circle")
    _, half, one = [float(circle.attrib["cx"]) for circle in circles]  # the first is the legend's
    assert half < one


def test_an_axis_is_logarithmic() -> None:
    axis = Axis([1.0, 10.0, 100.0], 0.0, 300.0)
    assert axis(10.0) - axis(1.0) == pytest.approx(axis(100.0) - axis(10.0))
    assert axis.ticks() == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


def test_words_pick_sections_and_rows() -> None:
    assert chosen([]) == {name: [] for name in SECTIONS}
    assert chosen(["growth"]) == {"growth": []}
    assert chosen(["growth", "10 reads"]) == {"growth": [], "requests": ["10 reads"]}


def test_growth_is_beside_that_of_stock() -> None:
    figures = {1: {"ours cpu": 10.0, "stock cpu": 5.0}, 8: {"ours cpu": 30.0, "stock cpu": 10.0}}
    assert growth(figures, "ours cpu") == {1: 1.0, 8: 1.5}


def test_sides_take_turns_and_the_ratio_is_that_of_the_minima() -> None:
    told: list[str] = []
    seconds = {"ours": [3.0, 2.0, 8.0], "stock": [4.0, 4.0, 2.0]}

    def turn(column: str) -> Answer:
        told.append(column)
        return {"cpu": seconds[column].pop(0)}

    turns: dict[str, Callable[[], Answer]] = {column: partial(turn, column) for column in seconds}
    row = Row("a row", "a_view", Limits(), turns=lambda row, sides: turns)
    result = measure(row, None, 3)  # type: ignore[arg-type]
    assert told == ["stock", "ours", "ours", "stock", "stock", "ours"]
    assert result.ratio("cpu") == (1.0, 0.75)
    assert result.ratio("peak") is None


def test_errors_are_counted_over_all_rounds() -> None:
    result = Result(Row("", ""), {"ours": [{"errors": ["a", "b"], "lost": 1}, {"errors": []}]})
    assert (result.total("ours", "errors"), result.total("ours", "lost")) == (2, 1)


def test_the_folder_has_json_markdown_and_charts(tmp_path: Path) -> None:
    section = Section("T", [table(["a", "b"], [["1", "2"]])], {"t": [1]}, {"t.svg": "<svg/>"})
    write(tmp_path / "bench", {"cores": "2"}, [section])
    text = (tmp_path / "bench" / "performance.md").read_text()
    assert "## T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n" in text
    data = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert data == {"machine": {"cores": "2"}, "t": [1]}
    assert (tmp_path / "bench" / "t.svg").read_text() == "<svg/>"

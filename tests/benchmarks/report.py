"""What the benchmarks leave in a folder: JSON, Markdown and charts."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        title: its heading.
        text: paragraphs and tables in Markdown.
        data: for the JSON file.
        charts: SVG by the name of its file.
    """

    title: str
    text: Sequence[str]
    data: dict[str, Any]
    charts: dict[str, str] = field(default_factory=dict)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def machine(versions: dict[str, str]) -> dict[str, str]:
    """What it was measured on."""
    return {
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()),
        "python": platform.python_version(),
        **versions,
    }


def write(folder: Path, about: dict[str, str], sections: Sequence[Section]) -> None:
    """Write ``bench.json``, ``performance.md`` and the charts; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"machine": about}
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    text = [f"Measured by `make bench`, with the three servers on the same machine: {told}."]
    for section in sections:
        data |= section.data
        text += [f"## {section.title}", *section.text]
        for name, chart in section.charts.items():
            (folder / name).write_text(chart)
    (folder / "bench.json").write_text(json.dumps(data, indent=1))
    (folder / "performance.md").write_text("\n\n".join(text) + "\n")

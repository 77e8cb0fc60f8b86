"""A hook of MkDocs: the changelog is a page, though it stands beside the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Returns the text of ``page``; its links to the docs are those of a page among them."""
    if page.file.src_uri != "changelog.md":
        return markdown
    return CHANGELOG.read_text("utf-8").replace("](docs/", "](")

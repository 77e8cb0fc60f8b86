"""What setup.cfg cannot say: where the links of the description lead.

The README's links are relative to the repository. ``PROJECT_URL`` says where that is, and
``PROJECT_REF`` which tag of it this is; without them the links become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import setup

PICTURE = re.compile(r"^!\[([^\]]+)\]\((?!https?:)([^)]+)\)\n\n", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")


def description(text: str, url: str, ref: str) -> str:
    """Returns the README as it is published."""
    if not url:
        return LINK.sub(r"\1", PICTURE.sub("", text))
    text = PICTURE.sub(rf"![\1]({url}/raw/{ref}/\2)\n\n", text)
    return LINK.sub(rf"[\1]({url}/blob/{ref}/\2)", text)


def places(url: str, ref: str) -> dict[str, str]:
    """Returns the links beside the description."""
    if not url:
        return {}
    return {
        "Source": url,
        "Documentation": f"{url}/blob/{ref}/docs/index.md",
        "Changelog": f"{url}/blob/{ref}/CHANGELOG.md",
    }


if __name__ == "__main__":
    readme = Path(__file__).with_name("README.md").read_text("utf-8")
    where = os.environ.get("PROJECT_URL", ""), os.environ.get("PROJECT_REF", "HEAD")
    setup(long_description=description(readme, *where), project_urls=places(*where))

"""``python -m tests.screenshots [FOLDER]``: takes the pictures of README and docs anew."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.browser import chromium
from tests.demo.running import demo, read_until
from tests.screenshots import scenes
from tests.screenshots.pictures import save, save_moving
from tests.screenshots.scenes import Stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main(folder: Path) -> None:
    """Start the demo, look at it, and save what is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    with demo("--serve", "--seconds=0") as process, TemporaryDirectory() as profile:
        output = read_until(process, "Its admin")
        found = re.search(r"up at (\S+/) until.*user (\w+), password (\S+)\)", output, re.DOTALL)
        if found is None:
            sys.exit(output)
        address, user, password = found.groups()
        browser = chromium(Path(profile))
        try:
            take(Stage(browser, address), folder, user, password)
        finally:
            browser.quit()


def take(stage: Stage, folder: Path, user: str, password: str) -> None:
    """All pictures, one after the other."""
    scenes.sign_in(stage, user, password)
    save(scenes.bank(stage), folder / "bank.png")
    save_moving(scenes.death_of_the_primary(stage), folder / "failover.gif")
    save(scenes.receipt(stage), folder / "receipt.png")
    save(scenes.staff(stage), folder / "staff.png")
    for path in sorted(folder.iterdir()):
        print(f"{path.name:<14} {path.stat().st_size / 1000:5.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)

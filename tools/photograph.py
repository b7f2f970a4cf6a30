"""A picture of a page for the docs: `python tools/photograph.py runs/.../report.html docs/images/report.png --height 1760`."""

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("page", type=Path)
    options.add_argument("picture", type=Path)
    options.add_argument("--width", type=int, default=1200)
    options.add_argument("--height", type=int, default=1500)
    options.add_argument("--of", default="", help="a CSS selector: only what it selects")
    given = options.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": given.width, "height": given.height})
        page.goto(given.page.resolve().as_uri())
        (page.locator(given.of).first if given.of else page).screenshot(path=given.picture)
        browser.close()
    # A page has few colours, and the picture is a fourth as large. Maximal coverage keeps those of thin lines.
    few = Image.open(given.picture).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(given.picture, optimize=True)


if __name__ == "__main__":
    main()

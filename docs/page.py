"""Makes page.png: the preview page over the synthetic pair of `make demo`. Needs the extras live and test, Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.synthetic import Scene, write_pair  # noqa: E402

SCENE = Scene(
    width=192, height=144, frames=100, rate=Fraction(8), ir_rate=Fraction(8), shift=(0, 0), offset=0.0
)  # what two cores keep up with
SIZE = {"width": 1280, "height": 800}
SECONDS = 45
"""Until the charts are full enough to look like something."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = write_pair(Path(folder), SCENE)
        addresses = (f"file:{path.name}?loop=1" for path in (pair.ir, pair.vis))
        command = [sys.executable, "-u", str(ROOT / "run_stream.py"), "live", "--preview", "127.0.0.1:0"]
        for side, address in zip(("--ir", "--vis"), addresses, strict=True):
            command += [side, address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert process.stdout is not None
        try:
            url = next(found[1] for line in process.stdout if (found := re.search(r"page: (\S+)", line)))
            _photograph(url)
        finally:
            process.terminate()


def _photograph(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        page.wait_for_timeout(1000 * SECONDS)
        page.screenshot(path=Path(__file__).with_suffix(".png"))
        browser.close()


if __name__ == "__main__":
    main()

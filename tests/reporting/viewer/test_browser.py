"""A real browser opens a page and works its controls, where there is one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.reporting.viewer import make_viewer_case, page

CHECK = Path(__file__).parents[2] / "browser" / "check_viewer.mjs"


def browser() -> str:
    """Return the path of Chromium, or skip."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium or not shutil.which("node"):
        pytest.skip("chromium or node is not here")
    asked = ["node", "-e", "require.resolve('playwright-core')"]
    if subprocess.run(asked, check=False, cwd=CHECK.parent, capture_output=True).returncode:
        pytest.skip("playwright-core is not here: npm install playwright-core, and set NODE_PATH")
    return chromium


def test_the_viewer_works_in_a_browser(tmp_path: Path, chest: Scan, truth: Scan) -> None:
    chromium = browser()
    regions = Regions({"lung": (1, 2), "lesion": (2,)})
    cases = [
        make_viewer_case("both", chest, {"truth": truth, "predicted": truth}, regions),
        make_viewer_case("<b>scan</b> alone", chest, {}),
    ]
    written = tmp_path / "page.html"
    written.write_text(page(cases, "A & B"))
    done = subprocess.run(
        ["node", CHECK, written],
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout == "ok\n", done.stderr

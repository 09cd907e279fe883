"""The viewer in a real browser, if one is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.reporting.viewer import make_viewer_case, viewer_page

CHECK = Path(__file__).parents[2] / "browser" / "check_viewer.mjs"


def browser() -> str:
    """Return the path of Chromium, or skip."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium or not shutil.which("node"):
        pytest.skip("chromium or node is not installed")
    command = ["node", "-e", "require.resolve('playwright-core')"]
    if subprocess.run(command, check=False, cwd=CHECK.parent, capture_output=True).returncode:
        pytest.skip("playwright-core is missing: run npm install playwright-core and set NODE_PATH")
    return chromium


def test_the_viewer_works_in_a_browser(tmp_path: Path, chest: Scan, truth: Scan) -> None:
    chromium = browser()
    regions = Regions({"lung": (1, 2), "lesion": (2,)})
    cases = [
        make_viewer_case("both", chest, {"truth": truth, "predicted": truth}, regions),
        make_viewer_case("<b>scan</b> alone", chest, {}),
    ]
    path = tmp_path / "page.html"
    path.write_text(viewer_page(cases, "A & B"))
    result = subprocess.run(
        ["node", CHECK, path],
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.stdout == "ok\n", result.stderr

"""`thorax view`: a page of a scan and its masks, in a browser or in a file."""

import re
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.reporting.viewer import server as served

from ..structure_sets import save_ct

SaveNifti = Callable[..., Path]
RNG = np.random.default_rng(0)


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


@pytest.fixture
def scan(save_nifti: SaveNifti) -> Path:
    return save_nifti("ct <1>.nii.gz", RNG.integers(-1000, 300, (24, 20, 6)).astype(np.int16))


@pytest.fixture
def mask(save_nifti: SaveNifti) -> Path:
    labels = np.zeros((24, 20, 6), np.uint8)
    labels[4:12, 5:15, 1:5] = 1
    return save_nifti("lungs.nii.gz", labels)


def test_the_page_is_one_file(scan: Path, mask: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "page.html"
    result = thorax("view", scan, mask, "--region", "lung=1", "--output", output)
    assert (result.exit_code, result.output) == (0, "")
    document = output.read_text(encoding="utf-8")
    assert document.startswith("<!DOCTYPE html>")
    assert "<title>ct &lt;1&gt;.nii.gz</title>" in document
    assert '"name":"lungs.nii.gz"' in document
    assert '"name":"lung","colour":"#56b4e9","labels":[1]' in document
    assert list(output.parent.iterdir()) == [output]


def test_the_current_folder_is_shown_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(save_ct(tmp_path / "ct"))
    output = tmp_path / "page.html"
    assert thorax("view", ".", "--output", output).exit_code == 0
    assert "<title>ct</title>" in output.read_text()
    assert '"name":"ct"' in output.read_text()


def test_every_label_value_is_a_region_by_default(scan: Path, mask: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert thorax("view", scan, mask, "--output", output).exit_code == 0
    assert '"name":"label_1"' in output.read_text()


def test_intensity_option(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert thorax("view", scan, "--output", output).exit_code == 0
    assert '"windows":[{"name":"Whole range"' in output.read_text()
    assert thorax("view", scan, "--intensity", "hu", "--output", output).exit_code == 0
    assert '"windows":[{"name":"Lung","low":-1350,"high":150}' in output.read_text()


def test_masks_with_one_file_name_are_named_by_their_paths(
    scan: Path, mask: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / mask.name
    other.parent.mkdir()
    other.write_bytes(mask.read_bytes())
    output = tmp_path / "page.html"
    assert thorax("view", scan, mask, other, "--output", output).exit_code == 0
    names = re.findall(r'"name":"([^"]*lungs[^"]*)"', output.read_text())
    assert names == [str(mask), str(other)]


def test_the_page_is_served_until_an_interrupt(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    pages: list[bytes] = []

    def look(server: served.PageServer, poll_interval: float = 0.02) -> None:
        def read() -> None:
            with urlopen(server.url) as answer:
                pages.append(answer.read())
            server.shutdown()

        reader = threading.Thread(target=read)
        reader.start()
        super(served.PageServer, server).serve_forever(poll_interval)
        reader.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(served.PageServer, "serve_forever", look)
    for options, browsers in (((), 1), (("--no-browser",), 1)):
        result = thorax("view", scan, *options)
        assert (result.exit_code, result.stdout) == (0, "")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ \(Ctrl-C to stop\)\n", result.stderr)
        assert len(opened) == browsers
        assert pages.pop().startswith(b"<!DOCTYPE html>")


def test_a_mask_on_another_grid_gives_a_one_line_error(
    scan: Path, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    small = save_nifti("small.nii.gz", np.ones((4, 4, 4), np.uint8))
    output = tmp_path / "page.html"
    result = thorax("view", scan, small, "--output", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: a mask must have the shape of its scan, but {small} has (4, 4, 4) and {scan} has "
        "(24, 20, 6); resample it onto the scan\n"
    )
    assert not output.exists()


def test_a_scan_is_never_overwritten(scan: Path) -> None:
    before = scan.read_bytes()
    result = thorax("view", scan, "--output", scan)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: --output must end in .html, got {scan}\n",
    )
    assert scan.read_bytes() == before


def test_a_missing_scan_gives_a_one_line_error(tmp_path: Path) -> None:
    result = thorax("view", tmp_path / "none.nii.gz", "--no-browser")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "none.nii.gz" in result.stderr


def test_viewing_needs_no_deep_learning_framework(scan: Path, tmp_path: Path) -> None:
    import subprocess

    program = f"""
import sys
from click.testing import CliRunner
from thorax.cli import main
run = CliRunner().invoke(main, ["view", {str(scan)!r}, "--output", {str(tmp_path / "p.html")!r}])
assert run.exit_code == 0, run.output
print(*sorted({{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"

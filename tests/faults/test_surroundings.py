"""A stage in unusual environments: no home, no UTF-8 locale, unusual names, links."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
NO_HOME = {
    "HOME": "/dev/null/home",
    "XDG_CONFIG_HOME": "/dev/null/config",
    "XDG_CACHE_HOME": "/dev/null/cache",
}


@pytest.fixture
def unusual(tmp_path: Path) -> Path:
    """Return a project with an unusual path and case names, and with links as scans."""
    root = tmp_path / "Grüße  an's 影像"
    dataset, store = root / "data" / "lungenärzte", tmp_path / "store"
    for folder in (dataset / "scans", dataset / "masks", store):
        folder.mkdir(parents=True)
    for number, name in enumerate(("größe 1", "größe 2", "肺")):
        ct = np.full((8, 6, 3), -1000 + number, np.int16)
        ct[2:6, 1:5] = 40
        save(store / f"{name}.nii.gz", ct)
        (dataset / "scans" / f"{name}.nii.gz").symlink_to(store / f"{name}.nii.gz")
        save(dataset / "masks" / f"{name}.nii.gz", (ct > 0).astype(np.uint8))
    spec = "# für alle\nregions: {lung: [1]}\ntitle: Lungenärzte\n"
    (dataset / "dataset.yaml").write_text(spec, encoding="utf-8")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["dataset"], params["prepare"] = "lungenärzte", {"canvas": 8, "crop": "none"}
    params["split"]["folds"] = 3
    text = "# größer als nötig\n" + yaml.safe_dump(params, allow_unicode=True)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    return root


def save(path: Path, voxels: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.8, 0.8, 2.5, 1.0])), path)


def prepare(root: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "thorax.pipeline.prepare"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_unusual_names_links_and_no_home_work(unusual: Path) -> None:
    answer = prepare(unusual, {"PYTHONUTF8": "1", **NO_HOME})
    assert answer.returncode == 0, answer.stderr
    index = json.loads((unusual / "data/records/index.json").read_text(encoding="utf-8"))
    assert [entry["case"] for entry in index["records"]] == ["größe 1", "größe 2", "肺"]


def test_a_locale_without_utf8_is_one_line_if_names_need_it(unusual: Path) -> None:
    answer = prepare(unusual, NO_UTF8)
    assert (answer.returncode, answer.stderr.splitlines()) == (
        1,
        [
            "thorax: this locale can write ascii only, but a file name or a text has "
            "'\\xe4'; set PYTHONUTF8=1 and run this again"
        ],
    )
    (unusual / "data/lungenärzte").rename(unusual / "data/chests")
    params = unusual / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("lungenärzte", "chests"))
    answer = prepare(unusual, NO_UTF8)
    assert answer.stderr.startswith("thorax: the name of data/chests/scans/gr\\udcc3\\udcb6\\udcc3")
    assert answer.stderr.endswith(
        "rename it, or set PYTHONUTF8=1 if other programs display it correctly\n"
    )


def test_a_locale_without_utf8_works_with_ascii_names(unusual: Path) -> None:
    (unusual / "data/lungenärzte").rename(unusual / "data/chests")
    params = unusual / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("lungenärzte", "chests"))
    for kind in ("scans", "masks"):
        for number, path in enumerate(sorted((unusual / "data/chests" / kind).iterdir())):
            path.rename(path.with_name(f"{number}.nii.gz"))
    answer = prepare(unusual, NO_UTF8)
    assert answer.returncode == 0, answer.stderr

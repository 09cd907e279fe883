"""`thorax benchmark covid19` on a miniature of the published archives, from download to table."""

import json
import re
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ..covid19_miniature import CASES, write_miniature
from .project import SMALL, Project, copy_of_the_working_tree

# By hand, as the runs of all folds take minutes: `pytest -m 'cluster and slow'`.
pytestmark = [pytest.mark.cluster, pytest.mark.slow]

COMMAND = (
    "thorax", "benchmark", "covid19", "--jobs", "2", "-S", "train.epochs=1",
    "-S", "network.width=2", "-S", "train.picture_interval=0", "--masks", "tool=tool",
    "--predicted-region", "lung=1,2", "--predicted-region", "right_lung=1",
    "--predicted-region", "left_lung=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def covid(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose download folder has the archives, with their digests."""
    project = copy_of_the_working_tree(tmp_path_factory.mktemp("benchmark") / "project")
    digests = iter(write_miniature(project.root / "data/covid19/downloads").values())
    module = project.root / "src/thorax/datasets/download.py"
    module.write_text(re.sub("[0-9a-f]{64}", lambda _: next(digests), module.read_text()))
    project.set(SMALL)
    project.commit("Start small")
    write_other_masks(project.root)
    return project


def write_other_masks(root: Path) -> None:
    """Write masks of a tool that numbers the right lung 1, and lacks the lowest third."""
    program = (
        "from pathlib import Path; from thorax.datasets.download import COVID19, unpack; "
        "unpack({part: Path('data/covid19/downloads', archive.name) "
        "for part, archive in COVID19.archives.items()}, Path('unpacked'))"
    )
    Project(root).run(sys.executable, "-c", program)
    (root / "tool").mkdir()
    for path in (root / "unpacked/masks").iterdir():
        image = nibabel.load(path)
        mask = np.array([0, 2, 1, 1], np.uint8)[np.asarray(image.dataobj)]
        mask[:, :, : mask.shape[2] // 3] = 0
        nibabel.save(nibabel.Nifti1Image(mask, image.affine), root / "tool" / path.name)


def test_one_command_from_the_archives_to_the_comparison(covid: Project) -> None:
    log = covid.run(*COMMAND, "--csv", "ours.csv")
    assert "downloading covid19 to data/covid19" in log
    assert "5 runs, 0 of them finished already" in log
    for text in (
        "protocol published: ",
        "Note: folds 2 and 4: training uses other scans of radiopaedia_10, radiopaedia_29",
        "\nthorax  left lung ",
        "\ntool    right lung ",
        "published, same protocol",
        "dice against thorax",
    ):
        assert text in log
    staged = covid.run("git", "status", "--porcelain", "data").splitlines()
    assert staged == ["A  data/covid19/masks.dvc", "A  data/covid19/scans.dvc"]
    assert len((covid.root / "ours.csv").read_text().splitlines()) == 1 + 4 * len(CASES)


def test_the_same_command_resumes_with_the_same_scores(covid: Project) -> None:
    """Runs after the test above, which finished all runs."""
    again = covid.run(*COMMAND, "--json")
    assert "5 runs, 5 of them finished already" in again
    content = json.loads(again[again.index("\n{") :])
    assert sorted({row["case"] for row in content["cases"]}) == CASES
    tool = {row["region"]: row for row in content["regions"] if row["masks"] == "tool"}
    assert set(tool) == {"lung", "left lung", "right lung"}
    assert 0.7 < tool["lung"]["dice_mean"] < 1

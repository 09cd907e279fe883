"""`thorax cross-validate` on the small phantom."""

import csv
import json

import pytest

from .project import Project

pytestmark = pytest.mark.slow

COMMAND = (
    "thorax", "cross-validate", "--csv", "folds.csv",
    "-S", "split.folds=2", "-S", "train.epochs=1", "-S", "network.width=2",
)  # fmt: skip


def test_every_case_is_tested_once_and_finished_runs_are_skipped(project: Project) -> None:
    log = project.run(*COMMAND)
    rows = list(csv.DictReader((project.root / "folds.csv").read_text().splitlines()))
    cases = [f"phantom_{number:03d}" for number in range(5)]
    for region in ("lung", "infection"):
        assert sorted(row["case"] for row in rows if row["region"] == region) == cases
    assert {row["fold"] for row in rows} == {"0", "1"}
    assert "over all cases\nregion     cases    Dice  median" in log
    again = project.run(*COMMAND, "--json")
    assert again.startswith("2 runs, 2 of them finished already\n{")
    table = json.loads(again.partition("\n")[2])
    assert [row["dice"] for row in table["cases"]] == [float(row["dice"]) for row in rows]
    assert "split.fold" not in project.run("git", "diff", "params.yaml")

"""The report as a stage: from the files of a project to the page and the text."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.pipeline.report import main

Fails = Callable[[Callable[[], None]], str]
SCORES = "case,region,dice,truth_ml,predicted_ml,ceiling_dice\nben-1,lung,0.75,1,2,1\n"


@pytest.fixture
def scored(project: Path) -> Path:
    (project / "reports").mkdir()
    (project / "reports/scores.csv").write_text(SCORES)
    (project / "data/predictions").mkdir()
    shutil.copy("data/chests/masks/ben-1.nii.gz", "data/predictions")
    return project


def test_a_project_gives_a_page_with_a_viewer_and_a_text(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    page = (scored / "reports/report.html").read_text()
    assert "On 1 test case of chests, the lung is found with a Dice of 0.750 and" in page
    assert 'data-viewer-case="ben-1"' in page
    assert "| ben-1 | lung | 0.750 |" in (scored / "reports/report.md").read_text()
    assert "reports/report.html (" in capsys.readouterr().err


def test_without_its_prediction_a_case_has_no_viewer(scored: Path) -> None:
    (scored / "data/predictions/ben-1.nii.gz").unlink()
    main()
    page = (scored / "reports/report.html").read_text()
    assert "<script" not in page
    assert "data-viewer-case" not in page


def test_a_final_model_has_a_report_too(scored: Path) -> None:
    (scored / "reports/scores.csv").write_text(SCORES.partition("\n")[0] + "\n")
    main()
    assert "tested on no case" in (scored / "reports/report.html").read_text()


def test_scores_that_are_not_there_are_told_of(project: Path, fails: Fails) -> None:
    assert fails(main) == "there is no reports/scores.csv; run `dvc repro evaluate`"

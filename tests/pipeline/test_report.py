"""The stage `report` turns the files of a project into an HTML page and Markdown."""

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


def test_a_project_has_a_page_with_a_viewer_and_a_markdown_report(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    page = (scored / "reports/report.html").read_text()
    assert "Dice on 1 test case of chests: lung 0.750, " in page
    assert 'data-viewer-case="ben-1"' in page
    assert "| ben-1 | lung | 0.750 |" in (scored / "reports/report.md").read_text()
    assert "reports/report.html (" in capsys.readouterr().err


def test_a_case_without_prediction_has_no_viewer(scored: Path) -> None:
    (scored / "data/predictions/ben-1.nii.gz").unlink()
    main()
    page = (scored / "reports/report.html").read_text()
    assert "<script" not in page
    assert "data-viewer-case" not in page


def test_a_final_model_has_a_report_too(scored: Path) -> None:
    (scored / "reports/scores.csv").write_text(SCORES.partition("\n")[0] + "\n")
    main()
    assert "was not tested" in (scored / "reports/report.html").read_text()


def test_missing_scores_are_reported(project: Path, fails: Fails) -> None:
    assert fails(main) == "there is no reports/scores.csv; run `dvc repro evaluate`"

"""Score tables from files, folders, experiments and git revisions."""

import math
import subprocess
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.experiments.score_tables import ScoreTable, check_metric, parse_table, read_tables


def table(dice: float) -> str:
    return f"case,site,region,dice,hd95_mm\nann,Ulm,lung,{dice},inf\nben,,lung,,2.5\n"


def git(project: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=thorax", "-c", "user.email=thorax@example.org")
    command = ["git", *settings, *arguments]
    return subprocess.run(command, cwd=project, check=True, text=True, capture_output=True).stdout


def commit(project: Path, dice: float) -> str:
    (project / "reports").mkdir(parents=True, exist_ok=True)
    (project / "reports/scores.csv").write_text(table(dice))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", f"Reach {dice}")
    return git(project, "rev-parse", "HEAD").strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with scores of 0.5 in its first commit and 0.6 in its second."""
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "--quiet", "--initial-branch", "main")
    (project / ".dvc").mkdir()
    commit(project, 0.5)
    git(project, "tag", "first")
    commit(project, 0.6)
    return project


def experiment(project: Path, dice: float, name: str, baseline: str) -> str:
    """Store scores as a DVC experiment: a commit that only a reference names."""
    hash_ = commit(project, dice)
    reference = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
    git(project, "update-ref", reference, hash_)
    git(project, "reset", "--quiet", "--hard", "HEAD~1")
    return reference


def dices(folder: Path, *sources: str) -> dict[str, float]:
    return {it.name: it.values("dice")["lung"]["ann"] for it in read_tables(sources, folder)}


def error_of(folder: Path, *sources: str) -> str:
    with pytest.raises(InputError) as error:
        read_tables(sources, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


# Where tables come from


def test_a_table_may_be_a_file_or_a_folder_or_a_project(tmp_path: Path) -> None:
    for name, dice in (
        ("mine.csv", 0.1),
        ("flat/scores.csv", 0.2),
        ("top/reports/scores.csv", 0.3),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(table(dice))
    assert dices(tmp_path, "mine.csv", "flat", "top", "again=top/reports") == {
        "mine.csv": 0.1,
        "flat": 0.2,
        "top": 0.3,
        "again": 0.3,
    }


def test_a_table_may_be_a_git_revision(project: Path) -> None:
    full = git(project, "rev-parse", "HEAD").strip()
    sources = ("first", "HEAD", "HEAD~1", full[:8], "now=main")
    assert list(dices(project, *sources).values()) == [0.5, 0.6, 0.5, 0.6, 0.6]


def test_a_table_may_be_an_experiment(project: Path) -> None:
    baseline = git(project, "rev-parse", "HEAD").strip()
    reference = experiment(project, 0.7, "focal", baseline)
    # Neither in the workspace nor on the branch.
    assert dices(project, "HEAD", "focal", f"full={reference}") == {
        "HEAD": 0.6,
        "focal": 0.7,
        "full": 0.7,
    }


def test_dvcs_other_references_are_not_experiments(project: Path) -> None:
    git(project, "update-ref", "refs/exps/exec/EXEC_BRANCH", "HEAD")
    assert error_of(project, "EXEC_BRANCH").endswith("or a git revision, got EXEC_BRANCH")


def test_a_project_may_be_a_subfolder_of_a_repository(project: Path) -> None:
    inner = project / "inner"
    commit(inner, 0.8)
    (inner / ".dvc").mkdir()
    assert dices(inner, "HEAD") == {"HEAD": 0.8}
    assert dices(inner / "reports", "HEAD") == {"HEAD": 0.8}


def test_files_come_before_revisions(project: Path) -> None:
    (project / "first").mkdir()
    (project / "first/scores.csv").write_text(table(0.9))
    assert dices(project, "first", "tag=refs/tags/first") == {"first": 0.9, "tag": 0.5}


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "lr=0.1.csv").write_text(table(0.4))
    assert dices(tmp_path, "lr=0.1.csv", "low=lr=0.1.csv") == {"lr=0.1.csv": 0.4, "low": 0.4}


def test_neither_name_nor_source_may_be_empty(tmp_path: Path) -> None:
    for bare in ("=x", "x="):
        assert error_of(tmp_path, bare) == f"a table is given as SOURCE or NAME=SOURCE, got {bare}"


def test_names_must_differ(tmp_path: Path) -> None:
    assert error_of(tmp_path, "a=x", "b=x", "a=y") == (
        "tables need different names, got a twice; use NAME=SOURCE"
    )


# Sources that do not exist


def test_a_source_that_does_not_exist_is_rejected(project: Path) -> None:
    assert error_of(project, "secnd") == (
        "a table must be a file, a folder, an experiment or a git revision, got secnd"
    )
    assert error_of(project, "--all").endswith("or a git revision, got --all")


def test_without_git_only_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "a table must be a file, a folder, an experiment or a git revision"
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert error_of(tmp_path, "main").startswith(
        f"{rule}, got main; git reports: fatal: not a git repository"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert error_of(tmp_path, "main") == f"{rule}, got main; git reports: git is not installed"


def test_a_folder_without_scores_is_rejected(tmp_path: Path) -> None:
    assert error_of(tmp_path, ".") == (
        "a folder must contain scores.csv or reports/scores.csv, but . does not; give the path of "
        "a table"
    )


def test_a_revision_without_scores_is_rejected(project: Path) -> None:
    git(project, "rm", "--quiet", "reports/scores.csv")
    git(project, "commit", "--quiet", "--message", "Forget")
    assert error_of(project, "HEAD") == (
        "a revision must contain reports/scores.csv under git, but HEAD does not; give the path of "
        "a table"
    )


def test_experiments_of_the_same_name_need_their_reference(project: Path) -> None:
    second, first = git(project, "rev-parse", "HEAD", "first").split()
    on_first = experiment(project, 0.7, "focal", first)
    on_second = experiment(project, 0.8, "focal", second)
    either = " or ".join(sorted([on_first, on_second]))
    assert error_of(project, "focal") == (
        f"an experiment must have a unique name, but several are named focal; give {either}"
    )
    assert dices(project, on_first, on_second) == {on_first: 0.7, on_second: 0.8}


def test_a_binary_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_bytes(b"case,region\n\xff\xfe")
    assert error_of(tmp_path, ".").startswith(". cannot be read as a table: 'utf-8' codec")


# Contents of tables


def test_cells_are_numbers_infinite_or_undefined() -> None:
    scores = parse_table("new", table(0.5))
    assert scores.metrics == ("dice", "hd95_mm")
    assert scores.values("hd95_mm") == {"lung": {"ann": math.inf, "ben": 2.5}}
    assert math.isnan(scores.values("dice")["lung"]["ben"])


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfcase,region,dice\r\nann,lung,0.5\r\n")
    assert dices(tmp_path, "a.csv") == {"a.csv": 0.5}


def test_sides_are_separate_regions() -> None:
    text = "case,region,side,dice\nann,lung,right,0.5\nann,lung,left,0.75\n"
    assert parse_table("new", text).values("dice") == {
        "lung right": {"ann": 0.5},
        "lung left": {"ann": 0.75},
    }


def test_a_case_with_several_seeds_has_the_mean_over_them() -> None:
    text = "seed,fold,case,region,dice\n0,1,ann,lung,0.5\n1,2,ann,lung,0.75\n2,0,ann,lung,\n"
    assert parse_table("cv", text).values("dice") == {"lung": {"ann": 0.625}}


def test_a_case_of_several_folds_has_the_mean_over_them() -> None:
    """Swapped folds test a case several times with one seed."""
    text = "seed,fold,case,region,dice\n0,1,ann,lung,0.5\n0,2,ann,lung,0.75\n"
    assert parse_table("cv", text).values("dice") == {"lung": {"ann": 0.625}}


def test_pairs_are_of_the_same_prediction() -> None:
    """An empty prediction has no certainty, so it gives no pair."""
    text = (
        "seed,case,region,dice,certainty\n0,ann,lung,0.5,0.25\n1,ann,lung,1,0.75\n"
        "0,ben,lung,0.875,\n1,ben,lung,0.5,0.5\n0,ann,scar,,\n"
    )
    assert parse_table("cv", text).paired("certainty", "dice") == {
        "lung": [(0.5, 0.75), (0.5, 0.5)]
    }


def test_pairs_need_both_columns() -> None:
    with pytest.raises(InputError, match="the metric must be a column of every table, but cv has"):
        parse_table("cv", "case,region,certainty\nann,lung,0.5\n").paired("certainty", "dice")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "a score table must have the columns case and region, but new has no case and no "
            "region; "
            "give a scores.csv",
        ),
        (
            "epoch,region\n1,2\n",
            "a score table must have the columns case and region, but new has no case; give a "
            "scores.csv",
        ),
        ("case,region,dice\n", "a score table must have at least one row, but new has none"),
        (
            "case,region,dice\nann,lung,1\nben,lung\n",
            "new is not a table: each row must have 3 cells like the header, but row 2 has more or "
            "fewer; give a CSV file of scores",
        ),
        (
            "case,region,dice\nann,lung,0,5\n",
            "new is not a table: each row must have 3 cells like the header, but row 1 has more or "
            "fewer; give a CSV file of scores",
        ),
    ],
    ids=["empty", "another table", "header alone", "cut short", "decimal comma"],
)
def test_a_file_that_is_not_a_score_table_is_rejected(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_table("new", text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "case,region,dice\nann,lung,good\n",
            "new: `dice` must be a number, got 'good' in row ann, lung; correct the file or create "
            "it "
            "again",
        ),
        (
            "case,region,dice\nann,lung,1\nann,lung,1\n",
            "new: a case must be listed once for each region, but ann, lung is listed twice; "
            "remove "
            "one row",
        ),
    ],
    ids=["words", "twice"],
)
def test_unusable_values_are_rejected(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_table("new", text).values("dice")
    assert str(error.value) == message


def test_a_metric_must_be_in_every_table() -> None:
    old = ScoreTable("old", ("case", "region", "dice", "iou"), ())
    new = ScoreTable("new", ("case", "site", "region", "dice", "nsd", "iou"), ())
    check_metric("dice", [old, new])
    for metric, table in (("nsd", "old"), ("iuo", "old"), ("site", "old")):
        with pytest.raises(InputError) as error:
            check_metric(metric, [old, new])
        assert str(error.value) == (
            f"the metric must be a column of every table, but {table} has no {metric}; "
            "all have dice, iou"
        )

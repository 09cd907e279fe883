"""`thorax compare`: output and errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from thorax.cli import main

BEFORE = {"a": 0.90, "b": 0.91, "c": 0.92, "d": 0.93, "e": 0.94}


def thorax(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("compare", *arguments), prog_name="thorax")


def write(path: Path, dices: dict[str, float]) -> None:
    rows = "".join(f"{case},lung,{dice}\n" for case, dice in dices.items())
    path.write_text(f"case,region,dice\n{rows}")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "old.csv", BEFORE)
    write(tmp_path / "new.csv", {**{case: dice + 0.02 for case, dice in BEFORE.items()}, "x": 0.5})


def test_results_go_to_stdout_and_notes_to_stderr() -> None:
    result = thorax("old=old.csv", "new=new.csv")
    assert result.exit_code == 0
    assert result.stdout.startswith("dice against old\nregion  table  cases")
    assert (
        "\n5 cases cannot show a difference between new and old on lung at 0.05, whatever the "
        "values are (p is at least 0.0625): dice is higher by 0.0200 on average (better).\n"
    ) in result.stdout
    assert result.stderr == (
        "Note: not in old, left out: x (lung)\n"
        "Note: with fewer than 10 cases a bootstrap interval is too narrow\n"
    )


def test_options_reach_the_comparison() -> None:
    options = ("--confidence", "0.9", "--test", "wilcoxon", "--region", "lung", "--metric", "dice")
    result = thorax("old=old.csv", "new=new.csv", *options, "--json")
    answer = json.loads(result.stdout)
    assert (answer["confidence"], answer["test"]) == (0.9, "wilcoxon")
    (comparison,) = answer["comparisons"]
    assert comparison["p"] == 0.0625
    assert comparison["conclusion"] == (
        "new is better than old on lung: dice is higher by 0.0200 on average over 5 cases "
        "(90 % interval +0.0200 to +0.0200, p = 0.0625)."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "a comparison needs a baseline and at least one table, got 0 tables; name two or more",
        ),
        (
            ("old.csv",),
            "a comparison needs a baseline and at least one table, got 1 tables; name two or more",
        ),
        (
            ("old.csv", "new.csv", "--metric", "nsd"),
            "the metric must be a column of every table, but old.csv has no nsd; all have dice",
        ),
        (
            ("old.csv", "."),
            "a folder must contain scores.csv or reports/scores.csv, but . does not; give the path "
            "of a table",
        ),
    ],
)
def test_tables_that_cannot_be_compared_are_rejected_in_one_line(
    arguments: tuple[str, ...], message: str
) -> None:
    result = thorax(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {message}\n")


@pytest.mark.parametrize("options", [("--confidence", "95"), ("--test", "t")])
def test_options_out_of_range_are_rejected(options: tuple[str, ...]) -> None:
    assert thorax("old.csv", "new.csv", *options).exit_code == 2


def test_comparing_imports_neither_a_framework_nor_dvc() -> None:
    program = """
import sys
from click.testing import CliRunner
from thorax.cli import main
assert CliRunner().invoke(main, "compare old.csv new.csv").exit_code == 0
print(*sorted({"keras", "tensorflow", "jax", "dvc", "matplotlib"} & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"

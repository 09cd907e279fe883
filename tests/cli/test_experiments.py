"""Cross-validation and sweeps: errors before anything starts."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from thorax.cli import main


def thorax(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="thorax")


@pytest.mark.parametrize(
    "arguments",
    [("cross-validate",), ("sweep", "-S", "loss=bce,dice")],
    ids=["cross-validate", "sweep"],
)
def test_outside_a_project_nothing_starts(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = thorax(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: runs must start in the top folder of a project")
    assert len(result.stderr.splitlines()) == 1


def test_invalid_seeds_are_rejected_in_one_line() -> None:
    result = thorax("cross-validate", "--seeds", "0,one")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: --seeds must be whole numbers from 0, separated by commas, got 0,one\n"
    )


@pytest.mark.parametrize("arguments", [("sweep",), ("cross-validate", "--jobs", "0")])
def test_incomplete_commands_are_rejected(arguments: tuple[str, ...]) -> None:
    assert thorax(*arguments).exit_code == 2

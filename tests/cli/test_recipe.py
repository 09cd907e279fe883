"""`thorax recipe` prints options for `dvc exp run`."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from thorax.cli import main

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with two recipes."""
    recipes = {"short": {"train.epochs": 2}, "named": {"split.test": ["a", "b"], "loss": "bce"}}
    content = yaml.safe_dump({**PARAMS, "recipes": recipes}, sort_keys=False)
    (tmp_path / "params.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "short\nnamed\n"),
        (["short"], "-S train.epochs=2\n"),
        (["named"], "-S split.test=[a,b] -S loss=bce\n"),
    ],
)
def test_the_settings_are_options(arguments: list[str], output: str) -> None:
    result = CliRunner().invoke(main, ["recipe", *arguments])
    assert (result.exit_code, result.output) == (0, output)


def test_an_unknown_recipe_is_one_line() -> None:
    result = CliRunner().invoke(main, ["recipe", "long"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "a recipe must be one of `recipes` in params.yaml (short, named), got `long`" in (
        result.output
    )

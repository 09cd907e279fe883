"""A project of three small cases in which tests run stages."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

SHIPPED = Path(__file__).parents[2] / "params.yaml"
SetParams = Callable[..., None]


@pytest.fixture
def set_params(tmp_path: Path) -> SetParams:
    """Return a function that writes `params.yaml` for the dataset, with changed values."""

    def write(**changes: Any) -> None:
        params = yaml.safe_load(SHIPPED.read_text())
        small: dict[str, Any] = {
            "dataset": "chests",
            "prepare": {"canvas": 8, "crop": "none"},
            "split": {"folds": 2, "validation": 0.0},
            "train": {"context": 1},
        }
        for part in (small, changes):
            for key, value in part.items():
                params[key] = params[key] | value if isinstance(value, dict) else value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))

    return write


@pytest.fixture
def project(
    tmp_path: Path, study: Path, set_params: SetParams, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the folder of a project; it is the working directory."""
    (tmp_path / "data").mkdir()
    study.rename(tmp_path / "data" / "chests")
    set_params()
    monkeypatch.chdir(tmp_path)
    # Threads, because starting processes takes a second.
    monkeypatch.setattr("thorax.common.parallel.worker_pool", ThreadPoolExecutor)
    return tmp_path


@pytest.fixture
def fails() -> Callable[[Callable[[], None]], str]:
    """Return a function that runs a failing stage and returns its one-line message."""
    from thorax.pipeline import run

    def message(main: Callable[[], None]) -> str:
        with pytest.raises(SystemExit) as ended:
            run(main)
        # For a text, Python prints it to stderr and exits with status 1.
        assert isinstance(ended.value.code, str)
        assert "\n" not in ended.value.code
        return ended.value.code.removeprefix("thorax: ")

    return message

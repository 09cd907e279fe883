"""Runs of Weights & Biases in a folder, and the choice between folder and server."""

from pathlib import Path

import pytest

from thorax.training.loggers.wandb import _mode

from .conftest import ROWS, Converse


def test_a_resumed_training_is_one_run_in_two_folders(converse: Converse, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (started,) = converse("wandb", ROWS[:1], finish=False)
    resumed, done = converse("wandb", ROWS, resumed=True)
    assert done == {"done": True}
    folders = [Path(answer["place"]) for answer in (started, resumed)]
    assert [folder.parent for folder in folders] == [tmp_path / "reports/wandb"] * 2
    first, second = (next(folder.glob("run-*.wandb")) for folder in folders)
    assert first.name == second.name, "the service joins runs of the same name"
    assert b"train.epochs" in first.read_bytes()
    assert b"records_sha256" in first.read_bytes()
    assert b"final_dice" not in first.read_bytes()
    for text in (b"final_dice", b"segmenter", b"spec.json"):
        assert text in second.read_bytes()


def test_no_user_or_host_or_command_is_logged(converse: Converse, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    converse("wandb", ROWS)
    (run,) = (tmp_path / "reports/wandb").glob("offline-run-*")
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.suffix != ".log")
    assert files == list(run.glob("run-*.wandb"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        pytest.param({}, "offline", id="no login"),
        pytest.param({"WANDB_API_KEY": "0" * 40}, "online", id="key"),
        pytest.param({"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40}, "offline", id="mode"),
        pytest.param({"WANDB_BASE_URL": "https://logs.example"}, "offline", id="other server"),
    ],
)
def test_without_a_login_nothing_leaves_the_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mode: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _mode() == mode


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        ("machine api.wandb.ai login user password key", "online"),
        ("machine logs.example login user password key", "offline"),
        ("no netrc file", "offline"),
    ],
)
def test_a_login_is_found_in_its_file(home: Path, content: str, mode: str) -> None:
    path = home / ".netrc"
    path.write_text(content + "\n")
    path.chmod(0o600)
    assert _mode() == mode

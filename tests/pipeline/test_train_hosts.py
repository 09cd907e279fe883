"""Stage `train` in two processes that are connected over loopback."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.models.spec import load_spec
from thorax.pipeline import prepare

from ..training.processes import Running, start

TRAIN = ["-m", "thorax.pipeline.train"]
LOST = "start all again to resume after the last finished epoch"


@pytest.fixture
def set_epochs(project: Path, set_params: Callable[..., None]) -> Callable[..., None]:
    """Prepare records; return a function that sets the number of epochs."""
    prepare.main()

    def write(epochs: int) -> None:
        set_params(
            split={"test": ["ben-1"], "validation": 0},
            network={"name": "unet", "width": 2, "depth": 1},
            train={"precision": "float32", "epochs": epochs, "batch": 2},
        )

    return write


def start_training(project: Path) -> Running:
    return start(TRAIN, folder=project, processes=2)


def kill_after_an_epoch(running: Running, rank: int) -> list[tuple[int, str]]:
    """Kill a process after an epoch; return status and later messages of both."""
    errors = running.processes[0].stderr
    assert errors is not None
    assert any(line.startswith("epoch ") for line in errors)
    running.processes[rank].send_signal(signal.SIGKILL)
    return running.ended()


@pytest.mark.slow
@pytest.mark.cluster
def test_the_stage_in_two_processes(project: Path, set_epochs: Callable[..., None]) -> None:
    """Process 0 writes; if one is killed, the other ends with a line, and both can resume."""
    set_epochs(10_000)
    for killed, other in ((1, 0), (0, 1)):
        ended = kill_after_an_epoch(start_training(project), killed)
        status, errors = ended[other]
        assert status not in (0, -signal.SIGKILL), errors
        *_, last = errors.splitlines()
        assert last.startswith("thorax: "), errors
        assert LOST in last
        assert "Traceback" not in errors
    assert len(list((project / "models/checkpoints").glob("*.npz"))) == 1
    assert not (project / "models/segmenter").exists()

    set_epochs(2)
    (leader, lines), (follower, nothing) = start_training(project).ended()
    assert (leader, follower, nothing) == (0, 0, ""), lines
    assert [line[:9] for line in lines.splitlines() if "epoch" in line] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert list(load_spec(project / "models/segmenter").provenance["split"]["train"]) == [
        "anna-1",
        "anna-2",
    ]
    assert len((project / "reports/history.csv").read_text().splitlines()) == 3

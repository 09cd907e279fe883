"""Training in two processes that are connected over loopback, each with four devices."""

from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.training.hosts import (
    _connect,
    _is_lost_connection,
    check_agreement,
    is_leader,
    joined_processes,
    process_count,
    share,
)
from thorax.training.launch import Launch

from .processes import run_trainings

WHOLE: dict[str, Any] = {
    "devices": 4,
    "supervision": 0.5,
    "train": {"accumulate": 2, "ema_momentum": 0.9, "clip_norm": 0.5, "weight_decay": 0.01},
}
STOPPED = WHOLE | {"name": "resumed", "stop_after": 2}
RESUMED = WHOLE | {"name": "resumed"}
EIGHT = [f"range({row}, {row + 1})" for row in range(8)]


def test_a_training_in_one_process_is_its_own_leader() -> None:
    with joined_processes():
        assert (process_count(), is_leader(), share(b"bytes")) == (1, True, b"bytes")
        check_agreement("key")


def test_errors_of_the_connection_are_known_by_their_words() -> None:
    lost = "UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:18324"
    assert _is_lost_connection(ValueError(lost))
    assert not _is_lost_connection(ValueError("INVALID_ARGUMENT: shapes differ"))


def test_several_processes_need_jax() -> None:
    with pytest.raises(
        InputError, match=r"in 2 processes needs the JAX backend, got tensorflow; set KERAS_BACKEND"
    ):
        _connect(Launch(2, 0, "127.0.0.1:1"))


@pytest.mark.slow
@pytest.mark.cluster
def test_two_processes_train_the_same_as_one(tmp_path: Path) -> None:
    """Also if the training is interrupted and resumed; only process 0 has the checkpoint.

    Sums over the rows of a batch are rounded in another order.
    """
    together = run_trainings(tmp_path / "two", [WHOLE, STOPPED, RESUMED], processes=2, devices=4)
    single = run_trainings(tmp_path / "one", [WHOLE | {"devices": 1}])
    (alone,), (shared, _, resumed) = single.finish(), together.finish()
    assert (alone["shards"], shared["shards"]) == (["range(0, 8)"], EIGHT)
    assert (shared["first_epoch"], resumed["first_epoch"]) == (1, 3)
    for result in (shared, resumed):
        assert result["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert result["norms"] == pytest.approx(alone["norms"], rel=1e-4)
        assert result["dice"] == pytest.approx(alone["dice"], abs=1e-3)
        assert result["weights"] == pytest.approx(alone["weights"], abs=1e-4)
    assert not list((tmp_path / "two" / "follower").glob("*.npz"))

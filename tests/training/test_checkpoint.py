"""Checkpoints: a saved one is loaded completely or not at all, and runs no code."""

import io
import itertools
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    run_key,
    save_checkpoint,
    saved_batch,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a checkpoint of one variable and one row."""
    path = tmp_path / "run.npz"
    weights = [np.array([1.5, 2.5], np.float32)]
    save_checkpoint(path, Checkpoint(weights, weights, [{"epoch": 1, "loss": 0.25}], 8))
    return path


def test_a_saved_checkpoint_is_loaded(tmp_path: Path) -> None:
    """More than ten variables, since 10 must not come before 2; all shapes and types."""
    variables = [np.full((number, 2), number, np.float32) for number in range(12)]
    variables += [np.array(7, np.int64), np.array(True), np.array([0.1], np.float64)]
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "dice_lung": math.nan}, {"epoch": 2, "loss": 1e-30}]
    path = tmp_path / "new" / "folder" / "run.npz"
    save_checkpoint(path, Checkpoint(variables, variables[3:5], history, 8))
    loaded = load_checkpoint(path)
    assert loaded is not None
    for arrays, expected in ((loaded.variables, variables), (loaded.best, variables[3:5])):
        assert [array.dtype for array in arrays] == [array.dtype for array in expected]
        for array, values in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, values)
    assert math.isnan(loaded.history[0].pop("dice_lung"))
    assert loaded.history == [
        {"epoch": 1, "loss": 0.30000000000000004},
        {"epoch": 2, "loss": 1e-30},
    ]


def test_a_later_checkpoint_replaces_the_first(saved: Path) -> None:
    save_checkpoint(saved, Checkpoint([], [], [], 8))
    assert load_checkpoint(saved) == Checkpoint([], [], [], 8)
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.npz") is None


def test_a_folder_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_a_truncated_checkpoint_is_none(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        assert load_checkpoint(saved) is None, f"truncated to {length} of {len(whole)} bytes"


def test_a_flipped_bit_never_changes_a_value(saved: Path) -> None:
    """Dates in a zip file have no effect, and `fit` notices an array that lost its name."""
    whole = saved.read_bytes()
    refused = 0
    for position, bit in itertools.product(range(0, len(whole), 5), (0x01, 0x08, 0x40)):
        damaged = bytearray(whole)
        damaged[position] ^= bit
        saved.write_bytes(damaged)
        loaded = load_checkpoint(saved)
        refused += loaded is None
        if loaded is not None:
            assert all(a.tolist() == [1.5, 2.5] for a in (*loaded.variables, *loaded.best)), (
                position
            )
            assert loaded.history == [{"epoch": 1, "loss": 0.25}], position
    assert refused > len(whole) / 5


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a checkpoint was unpickled",)


def array_file(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"epoch,loss\n1,0.5\n", id="text"),
        pytest.param(pickle.dumps([Trap()]), id="a pickle"),
        pytest.param(
            array_file(history=np.array("[]"), variable_00000=np.array([Trap()], object)),
            id="an array of objects",
        ),
        pytest.param(array_file(variable_00000=np.zeros(1)), id="arrays without a history"),
        pytest.param(array_file(history=np.array("[{")), id="a history that is not JSON"),
    ],
)
def test_other_files_are_none_and_never_unpickled(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    assert load_checkpoint(path) is None


def test_the_file_is_an_archive_of_plain_arrays(saved: Path) -> None:
    """NumPy alone reads it."""
    with np.load(saved, allow_pickle=False) as stored:
        assert stored["variable_00000"].tolist() == stored["best_00000"].tolist() == [1.5, 2.5]
        assert json.loads(str(stored["history"])) == [{"epoch": 1, "loss": 0.25}]


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        save_checkpoint(tmp_path / "run.npz", Checkpoint([np.array([Trap()], object)], [], [], 8))
    assert not list(tmp_path.iterdir())


# Keys


@pytest.fixture
def code(tmp_path: Path) -> list[Path]:
    """Return two source files."""
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    return [tmp_path / "a.py", tmp_path / "b.py"]


SETTINGS = {"seed": 0, "train": {"epochs": 2, "window": (-1000, 400)}}


def test_a_key_depends_on_settings_records_and_code(code: list[Path]) -> None:
    keys = [
        run_key(settings=SETTINGS, records="aa", code=code),
        run_key(settings=SETTINGS | {"seed": 1}, records="aa", code=code),
        run_key(settings=SETTINGS | {"train": {"epochs": 3}}, records="aa", code=code),
        run_key(settings=SETTINGS, records="ab", code=code),
        run_key(settings=SETTINGS, records="aa", code=code[:1]),
    ]
    code[1].write_text("# changed\n")
    keys.append(run_key(settings=SETTINGS, records="aa", code=code))
    assert len(set(keys)) == 6


def test_a_key_does_not_depend_on_the_order_of_settings_and_files(code: list[Path]) -> None:
    reordered = dict(reversed(SETTINGS.items()))
    assert run_key(settings=SETTINGS, records="aa", code=code) == run_key(
        settings=reordered, records="aa", code=reversed(code)
    )


def test_a_key_is_a_file_name(code: list[Path]) -> None:
    key = run_key(settings=SETTINGS, records="aa", code=code)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


def test_the_batch_size_is_read(saved: Path, tmp_path: Path) -> None:
    assert saved_batch(saved) == 8
    assert saved_batch(tmp_path / "none.npz") is None
    saved.write_bytes(saved.read_bytes()[:100])
    assert saved_batch(saved) is None

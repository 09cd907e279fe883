"""Records in memory: the ones that fit are read once."""

from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.training.record_memory import RecordMemory, memory_for_records

from ..learning import save_record

RECORD_BYTES = 3 * 4 * 4 * (2 + 1)
"""Three slices of 4×4 pixels: 2 bytes of HU, 1 byte of one region."""


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Return two records of three slices, of 10 and of 11 HU."""
    return [
        save_record(tmp_path / f"{hu}.tfrecord", np.full((3, 4, 4), hu), np.zeros((3, 4, 4, 1)))
        for hu in (10, 11)
    ]


@pytest.mark.parametrize(
    ("limit_bytes", "kept"),
    [(0, []), (RECORD_BYTES - 1, []), (RECORD_BYTES, [10]), (2 * RECORD_BYTES, [10, 11])],
)
def test_records_are_kept_while_they_fit(
    paths: list[Path], limit_bytes: int, kept: list[int]
) -> None:
    read = RecordMemory(paths, [3, 3], limit_bytes=limit_bytes)
    assert [int(read(case).planes[0, 0, 0]) for case in (0, 1)] == [10, 11]
    for path in paths:
        path.unlink()
    for case, hu in enumerate((10, 11)):
        if hu in kept:
            assert int(read(case).planes[0, 0, 0]) == hu
        else:
            with pytest.raises(InputError, match=rf"{hu}\.tfrecord cannot be read"):
                read(case)


def test_a_record_with_fewer_slices_than_stacks_is_refused(paths: list[Path]) -> None:
    read = RecordMemory(paths, [4, 3], limit_bytes=RECORD_BYTES)
    with pytest.raises(InputError, match=r"10\.tfrecord must have 4 slices .* but has 3; make"):
        read(0)


def test_records_may_take_a_quarter_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.training.record_memory.free_memory_bytes", lambda: 4000)
    assert memory_for_records() == 1000

"""Files that cannot be written completely: a one-line error and no partial file."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.io import Scan, mask_file, write_volume

SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
import numpy as np
from pathlib import Path
from thorax.pipeline import run
from thorax.preprocessing.records import CaseRecord, write_record

planes = np.zeros((9, 32, 32), np.int16)
record = CaseRecord(planes, np.zeros((9, 32, 32, 2), np.uint8))
run(lambda: write_record(Path("a.tfrecord"), record))
"""


def test_a_record_without_disk_space_is_one_line(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SMALL_FILES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == (
        "thorax: cannot write a.tfrecord: File too large; this exceeds the largest file size; "
        "check `ulimit -f` and the file system\n"
    )
    assert answer.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_full_disk_while_a_mask_is_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    scan = tmp_path / "scan.nii"
    write_volume(scan, np.zeros((4, 4, 4), np.int16), np.eye(4))
    monkeypatch.setattr("thorax.io.compressed_volume.CompressedVolume.write", fail)
    path = tmp_path / f"mask{suffix}"
    with (
        pytest.raises(InputError, match=rf"^cannot write {path}: No space left on device; free"),
        mask_file(path, Scan(scan)) as writer,
    ):
        writer.write(0, np.zeros((4, 4, 4), np.uint8))
    assert os.listdir(tmp_path) == ["scan.nii"]  # noqa: PTH208  # hidden files too

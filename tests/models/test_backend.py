"""Keras is imported without output, and later output is not suppressed."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.models.backend import import_keras

SCRIPT = """
import os, sys
from thorax.common.errors import InputError
from thorax.models.backend import import_keras

import_keras()
import keras, tensorflow

tensorflow.config.list_physical_devices()
os.write(2, b"from below, ")
print("and from Python", file=sys.stderr)
"""


def test_tensorflow_writes_nothing_and_stderr_is_restored() -> None:
    """In a new process, where TensorFlow would write about oneDNN, CUDA and the processor."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=quiet, capture_output=True, text=True, check=True
    )
    assert done.stderr == "from below, and from Python\n"
    assert done.stdout == ""


def test_stderr_is_restored_if_keras_cannot_be_imported(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError

    import_keras()
    capfd.readouterr()
    monkeypatch.setattr("keras.backend.backend", fail)
    with pytest.raises(ImportError):
        import_keras()
    os.write(2, b"output")
    assert capfd.readouterr().err == "output"


def test_the_extra_that_contains_keras_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(InputError, match=r"needs keras, which is not installed.*'thorax\[train\]'"):
        import_keras()


def test_no_file_stays_open() -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("there is no /proc to count open files")
    import_keras()
    gc.collect()
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        import_keras()
    assert len(list(descriptors.iterdir())) <= before


def test_the_log_level_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    import_keras()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"

"""Training on JAX where TensorFlow is not installed."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ..learning import augmentation, save_record, stack_dataset

ROOT = Path(__file__).parents[2]

DEPTHS = 20, 7, 33


def digests(paths: list[Path]) -> list[str]:
    """Digest of the bytes of each batch of two epochs, with augmentation of every kind."""
    from thorax.training.data import epoch_batches

    changes = augmentation(
        flip=0.5, rotate_degrees=10.0, contrast=0.2, noise=0.1, thick_slices=0.3, mixup=0.2
    )
    dataset = stack_dataset(
        paths,
        DEPTHS,
        canvas=32,
        regions=2,
        context=1,
        augmentation=changes,
        rare_region=1,
        rare_region_share=0.4,
    )
    found = []
    for epoch in range(2):
        batches = epoch_batches(dataset, batch=8, seed=3, epoch=epoch, levels=1)
        for stacks, fractions in batches:
            arrays = [np.ascontiguousarray(array) for array in (stacks, *fractions)]
            found.append(hashlib.sha256(b"".join(arrays)).hexdigest())
    return found


WITHOUT_TENSORFLOW = """
import os, sys
os.environ.update(KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
# Imports of it raise an ImportError, as if it were not installed.
sys.modules["tensorflow"] = None
"""


def run_without_tensorflow(script: str, *arguments: str) -> str:
    """Run a script in the top folder of the repository, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW + script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_jax_gets_the_bytes_of_tensorflow(paths: list[Path]) -> None:
    script = """
import json, pathlib
from tests.training.test_without_tensorflow import digests
print(json.dumps(digests([pathlib.Path(path) for path in sys.argv[1:]])))
"""
    output = run_without_tensorflow(script, *map(str, paths))
    expected = digests(paths)
    assert len(expected) == 2 * (sum(DEPTHS) // 8)
    assert json.loads(output) == expected


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Return three records of random slices; some slices lack a region."""
    generator = np.random.default_rng(0)
    return [
        save_record(
            tmp_path / f"case-{depth}.tfrecord",
            generator.integers(-200, 1200, (depth, 32, 32)),
            generator.integers(0, 256, (depth, 32, 32, 2))
            * (generator.random((depth, 1, 1, 2)) < 0.5),
        )
        for depth in DEPTHS
    ]


def compare_paths(paths: list[Path]) -> None:
    """Compare batches that are made on the device with those of NumPy, without draws."""
    from thorax.training import device_input
    from thorax.training.data import epoch_batches, numpy_batches

    for thick_slices in (0.0, 0.5):
        settings = {
            "canvas": 32,
            "regions": 2,
            "context": 2,
            "rare_region": 1,
            "rare_region_share": 0.4,
        }
        on_cpu, on_device = (
            stack_dataset(
                paths,
                DEPTHS,
                **settings,
                augmentation=augmentation(device=device, canvas=32, thick_slices=thick_slices),
            )
            for device in ("cpu", "gpu")
        )
        expected = list(numpy_batches(on_cpu, batch=8, seed=3, epoch=1, levels=1))
        for share in (0.5, 0.0):  # all records on the device; none
            device_input.DEVICE_SHARE = share
            on_device.__dict__.pop("device_records", None)
            batches = list(epoch_batches(on_device, batch=8, seed=3, epoch=1, levels=1))
            assert (on_device.device_records is None) is (share == 0.0)
            assert len(batches) == len(expected)
            for batch, other in zip(batches, expected, strict=True):
                for array, wanted in zip((batch[0], *batch[1]), (other[0], *other[1]), strict=True):
                    np.testing.assert_allclose(array, wanted, atol=1e-6)


def test_batches_of_the_device_have_the_slices_of_numpy(paths: list[Path]) -> None:
    script = """
import pathlib
from tests.training.test_without_tensorflow import compare_paths
compare_paths([pathlib.Path(path) for path in sys.argv[1:]])
"""
    run_without_tensorflow(script, *map(str, paths))


def repeat_and_resume(paths: list[Path]) -> None:
    """Compare the batches of two runs, and of a run that starts with the second epoch."""
    from thorax.training.data import epoch_batches

    changes = {"rotate_degrees": 10.0, "noise": 0.2, "contrast": 0.2, "mixup": 0.3}

    def batches(epoch: int) -> list[np.ndarray]:
        settings = augmentation(device="gpu", canvas=32, **changes)
        dataset = stack_dataset(paths, DEPTHS, canvas=32, regions=2, augmentation=settings)
        return [np.asarray(b[0]) for b in epoch_batches(dataset, batch=4, seed=1, epoch=epoch)]

    first, second, again = batches(0), batches(1), batches(1)
    np.testing.assert_array_equal(second, again)
    assert not np.array_equal(first, second)
    assert len({array.tobytes() for array in (*first, *second)}) == len(first) + len(second)


def test_draws_on_the_device_depend_on_seed_and_epoch_alone(paths: list[Path]) -> None:
    script = """
import pathlib
from tests.training.test_without_tensorflow import repeat_and_resume
repeat_and_resume([pathlib.Path(path) for path in sys.argv[1:]])
"""
    run_without_tensorflow(script, *map(str, paths))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["test_data.py", "test_trainer.py"])
def test_the_tests_of_the_training_pass_without_tensorflow(module: str) -> None:
    script = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    output = run_without_tensorflow(script, "-q", "-m", "not slow", f"tests/training/{module}")
    assert " passed" in output.splitlines()[-1]

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


def test_jax_gets_the_bytes_of_tensorflow(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    paths = [
        save_record(
            tmp_path / f"case-{depth}.tfrecord",
            generator.integers(-200, 1200, (depth, 32, 32)),
            generator.integers(0, 256, (depth, 32, 32, 2))
            * (generator.random((depth, 1, 1, 2)) < 0.5),
        )
        for depth in DEPTHS
    ]
    script = """
import json, pathlib
from tests.training.test_without_tensorflow import digests
print(json.dumps(digests([pathlib.Path(path) for path in sys.argv[1:]])))
"""
    output = run_without_tensorflow(script, *map(str, paths))
    expected = digests(paths)
    assert len(expected) == 2 * (sum(DEPTHS) // 8)
    assert json.loads(output) == expected


@pytest.mark.slow
@pytest.mark.parametrize("module", ["test_data.py", "test_trainer.py"])
def test_the_tests_of_the_training_pass_without_tensorflow(module: str) -> None:
    script = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    output = run_without_tensorflow(script, "-q", "-m", "not slow", f"tests/training/{module}")
    assert " passed" in output.splitlines()[-1]

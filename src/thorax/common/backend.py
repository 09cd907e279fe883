"""Name of the Keras backend, and a check that it is installed, without importing it."""

import os
from importlib.util import find_spec

from thorax.common.errors import require_packages


def backend_name() -> str:
    """Name of the Keras backend: that of ``KERAS_BACKEND``, otherwise TensorFlow or JAX.

    Keras alone would also fail on JAX if TensorFlow is not installed and no variable is set.
    """
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    return "jax" if find_spec("jax") and not find_spec("tensorflow") else "tensorflow"


def require_backend(purpose: str, *packages: str) -> None:
    """Check that Keras, its backend and other packages are installed.

    Args:
        purpose: The command or option that needs them.
        packages: Names as in an import.

    Raises:
        InputError: A package is not installed; the message names the extra that contains it.
    """
    backend = backend_name()
    extra = "jax" if backend == "jax" else "train"
    require_packages(purpose, *packages, "keras", backend, extra=extra)

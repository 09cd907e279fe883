"""Import the Keras backend without its start-up messages, and query it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from thorax.common.backend import backend_name, require_backend


def import_keras() -> None:
    """Import Keras and its backend without output on stderr.

    TensorFlow writes about oneDNN and missing CUDA drivers below Python's own stderr, at any log
    level, when it is imported and when it first lists devices. Errors still raise exceptions.
    """
    require_backend("a Keras model")
    if backend_name() == "jax":
        os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()


def worth_compiling() -> bool:
    """Return True if XLA is faster: not for TensorFlow's convolutions on a CPU, which it slows."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@contextmanager
def _silent_stderr() -> Iterator[None]:
    stderr = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)

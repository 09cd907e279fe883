"""The backend of Keras: imported without the lines that it writes about itself, and asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def import_keras() -> None:
    """Import Keras and its backend, and let the backend look for devices, in silence.

    TensorFlow tells about oneDNN and missing CUDA drivers below Python's own stderr, whatever its
    log level says. Errors still come as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()


def worth_compiling() -> bool:
    """Whether XLA pays: it halves the speed of convolutions under TensorFlow on a CPU."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@contextmanager
def _silent_stderr() -> Iterator[None]:
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

"""Plugin of pytest, and a module to import first: no TensorFlow, and Keras on JAX."""

import os
import sys

os.environ.update(KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
# Imports of it raise ImportError, as if it were not installed.
sys.modules["tensorflow"] = None  # type: ignore[assignment]

"""Segment the lungs, and disease inside them, in 3D chest CT.

From Python::

    import thorax

    model = thorax.load("models/segmenter.onnx")
    found = model.segment("ct.nii.gz")
    print(found.volumes_ml)
    found.save("lungs.nii.gz")

See `thorax.api`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thorax.api import Predictor, Segmentation, load

__all__ = ["Predictor", "Segmentation", "load"]


def __getattr__(name: str) -> Any:
    """Import the Python interface only when it is asked for: `import thorax` stays light."""
    if name not in __all__:
        raise AttributeError(f"module `thorax` has no attribute `{name}`")
    return getattr(import_module("thorax.api"), name)

"""Segment the lungs, and disease inside them, in 3D chest CT.

From Python::

    import thorax

    model = thorax.load()
    result = model.segment("ct.nii.gz")
    print(result.volumes_ml)
    result.save("lungs.nii.gz")

See `thorax.api`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thorax.api import Predictor, Segmentation, load

__all__ = ["Predictor", "Segmentation", "load"]


def __getattr__(name: str) -> Any:
    """Import the Python interface on first use, so that `import thorax` is fast."""
    if name not in __all__:
        raise AttributeError(f"module `thorax` has no attribute `{name}`")
    return getattr(import_module("thorax.api"), name)

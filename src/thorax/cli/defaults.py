"""Default settings of commands that also run outside a project, without `params.yaml`.

They are those of `params.yaml`; a test compares the two.
"""

from typing import Any

EVALUATE: dict[str, Any] = {
    "convention": "thorax",
    "tolerance_mm": {"lung": 1.0, "infection": 3.0},
    "lesions": ["infection"],
    "lesion_overlap": 0.0,
    "smallest_lesion_ml": 0.0,
    "interval": "bca",
    "confidence": 0.95,
    "resamples": 9999,
}
"""The section `evaluate`."""

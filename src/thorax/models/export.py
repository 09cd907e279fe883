"""Export a trained network as an ONNX file and compare the file with the network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.engines.open import default_engine, open_engine
from thorax.models.keras_file import MODEL, load_network
from thorax.models.keras_graph import to_graph
from thorax.models.onnx_file import write_model
from thorax.models.spec import SUMMARY, ExpectedDiceModel, ModelSpec, check_side_labels, load_spec

TOLERANCE = 1e-4
"""Largest difference of probabilities that another order of float32 sums explains."""

COMPARED_SLICES = 24
"""Slices of the synthetic scan for the comparison."""


@dataclass(frozen=True)
class ExportComparison:
    """Difference between an exported model and its network.

    Args:
        max_difference: Largest difference of two probabilities.
        differing_pixels: Pixels on different sides of the threshold.
        pixels: Pixels compared.
    """

    max_difference: float
    differing_pixels: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"exported model against Keras model: {self.differing_pixels} of {self.pixels} pixels "
            f"differ, probabilities by at most {self.max_difference:.1e}"
        )


def export_model(
    folder: Path,
    path: Path,
    *,
    threshold: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    expected: Mapping[str, ExpectedDiceModel] | None = None,
    licence: str = "",
    summary: str = "",
    side_labels: tuple[int, int] | None = None,
) -> ExportComparison:
    """Export a trained network as one file and compare both on the same slices.

    Args:
        folder: As written by `thorax.models.keras_file.save_trained`.
        path: Ends in ``.onnx``.
        threshold: Lowest probability of a voxel inside a region; None: that of the trained model.
        metrics: Scores to store in the file.
        expected: Region name → expected Dice model.
        licence: Licence of the model.
        summary: Training data in one line.
        side_labels: Label values of the right and the left lung in masks; None: one label for both.

    Returns:
        The difference in float32.

    Raises:
        InputError: There is no trained network, the file cannot be written, or a side label is not
            a label of the region ``lung``.
        RuntimeError: Probabilities differ by more than the tolerance; no file is written.
    """
    spec = load_spec(folder)
    network = load_network(folder / MODEL)
    graph = to_graph(network)
    comparison = _compare(KerasEngine(network, spec.window), graph, spec)
    if comparison.max_difference > TOLERANCE:
        raise RuntimeError(f"the two models must agree within {TOLERANCE:g}; {comparison}")
    sides = dict(zip(("right", "left"), side_labels or (), strict=False))
    check_side_labels(sides, spec.regions)
    exported_spec = replace(
        spec,
        threshold=threshold or spec.threshold,
        metrics=dict(metrics or {}),
        expected_dice=dict(expected or {}),
        licence=licence,
        side_labels=sides,
        provenance=spec.provenance | ({SUMMARY: summary} if summary else {}),
    )
    write_model(path, graph, exported_spec)
    return comparison


def _compare(engine: KerasEngine, graph: bytes, spec: ModelSpec) -> ExportComparison:
    """Compare network and graph on smooth noise that fills the window."""
    noise = np.random.default_rng(0).standard_normal((COMPARED_SLICES, spec.canvas, spec.canvas))
    smooth = gaussian_filter(noise, (1, 3, 3))
    low_hu, high_hu = spec.window_hu
    spread = smooth / smooth.std() * (high_hu - low_hu) / 4
    planes = ((low_hu + high_hu) / 2 + spread).astype(np.int16)
    exported_engine = open_engine(graph, default_engine(), window=spec.window, precision="float32")
    expected, exported = (runner.probabilities(planes) for runner in (engine, exported_engine))
    differing = (expected >= spec.threshold) != (exported >= spec.threshold)
    return ExportComparison(
        max_difference=float(np.abs(expected - exported).max()),
        differing_pixels=int(np.count_nonzero(differing)),
        pixels=differing.size,
    )

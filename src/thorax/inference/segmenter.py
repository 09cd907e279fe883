"""Segment the regions of a scan with one model or an ensemble."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.imaging.grid import Grid
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.lung_sides import LUNG, lung_sides, widen_sides
from thorax.imaging.placement import Placement
from thorax.imaging.regions import Regions
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.postprocessing import postprocess as apply_rules
from thorax.inference.quality import (
    QualityScores,
    plausibility_warnings,
    quality_scores,
    truncation_notes,
)
from thorax.inference.statistics import ScanStatistics
from thorax.inference.tta import IDENTITY, MIRRORED, TTATransform, average, transforms_for
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan
from thorax.models.engines import Device, Engine, EngineName, Precision
from thorax.models.engines.open import default_engine, open_engine
from thorax.models.spec import SPEC, ExpectedDice, ExpectedDiceModel, ModelSpec
from thorax.preprocessing.examination import ExaminedScan, examine_scan
from thorax.preprocessing.scan import PreprocessedScan, preprocess_scan

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model.

    Args:
        spec: Input, regions and postprocessing of the model.
        engine: Runs the network.
        digest: SHA-256 of the model file, or of the files of a trained model.
    """

    spec: ModelSpec
    engine: Engine
    digest: str


@dataclass(frozen=True, eq=False)
class Prediction:
    """The segmentation of a scan, on the canvas.

    Args:
        preprocessed: The scan.
        regions: Regions of the model.
        threshold: Probability threshold for a voxel to belong to a region, after restoring.
        probabilities: After postprocessing, shape ``(N, H, W, R)``.
        sides: 1 right and 2 left in and around the lung, shape ``(N, H, W)``; None without a
            region `lung`.
        quality: Quality metrics, one per region.
        notes: Changes by postprocessing.
        expected_dice_models: Region name → fit of its expected Dice, if there is one.
        side_labels: ``right`` and ``left`` → label of that lung in the mask; empty: one label.
    """

    preprocessed: PreprocessedScan
    regions: Regions
    threshold: float
    probabilities: Floats
    sides: NDArray[np.uint8] | None
    quality: list[QualityScores]
    notes: tuple[str, ...]
    expected_dice_models: Mapping[str, ExpectedDiceModel] = field(default_factory=dict)
    side_labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def scan(self) -> Scan:
        """The scan on its own grid."""
        return self.preprocessed.scan

    @property
    def grid(self) -> Grid:
        """Grid of the scan."""
        return self.preprocessed.grid

    @property
    def placement(self) -> Placement:
        """Placement of the slices on the canvas."""
        return self.preprocessed.placement

    @property
    def quality_by_region(self) -> dict[str, QualityScores]:
        """Region name → its quality metrics."""
        return dict(zip(self.regions.names, self.quality, strict=True))

    @property
    def expected_dice(self) -> dict[str, ExpectedDice]:
        """Region name → expected Dice, for regions that are not empty and have a fit."""
        return {
            name: self.expected_dice_models[name].dice(scores.certainty)
            for name, scores in self.quality_by_region.items()
            if name in self.expected_dice_models and scores.certainty is not None
        }

    def statistics(self, measurements: RegionMeasurements) -> ScanStatistics:
        """Return measurements of the scan, expected Dice, quality warnings and notes."""
        measured = replace(measurements.result(), expected_dice=self.expected_dice)
        notes = tuple(truncation_notes(measured))
        return replace(measured, quality_warnings=self._warnings(measured), notes=notes)

    def _warnings(self, statistics: ScanStatistics) -> tuple[str, ...]:
        """Reasons to review the masks, one sentence each; those of the scan come first."""
        by_region = (
            warning
            for name, scores in self.quality_by_region.items()
            for warning in scores.warnings(name, self.expected_dice_models.get(name))
        )
        return (*self.preprocessed.warnings, *by_region, *plausibility_warnings(statistics))


class Segmenter:
    """Segments scans with one model, or with the mean of several.

    Args:
        models: Models with the same canvas, crop and regions; threshold and postprocessing are
            those of the first.
        tta: Test-time augmentation: take the mean over transformed copies of the scan.
        postprocess: Apply the postprocessing rules of the model.

    Raises:
        InputError: The models differ in canvas, crop or regions.
    """

    def __init__(
        self, models: Sequence[Model], *, tta: bool = False, postprocess: bool = True
    ) -> None:
        self.models = tuple(models)
        self.spec = self.models[0].spec
        self.regions = Regions(self.spec.regions)
        self._transforms = _transforms(self.spec) if tta else (IDENTITY,)
        self._rules = self.spec.postprocessing if postprocess else {}
        for model in self.models[1:]:
            _check_compatible(self.spec, model.spec)

    @cached_property
    def digest(self) -> str:
        """Digest that identifies the models."""
        return "+".join(model.digest[:12] for model in self.models)

    @cached_property
    def settings(self) -> str:
        """Settings, apart from the models, that the masks depend on."""
        names = "+".join(transform.name for transform in self._transforms)
        return names + (" postprocessed" if self._rules else "")

    def preprocess(
        self,
        scan: Scan | ExaminedScan,
        *,
        intensity: IntensityScale | None = None,
        whole: bool = True,
    ) -> PreprocessedScan:
        """Read a scan and place it on the canvas.

        Args:
            scan: The scan, which may have been examined already.
            intensity: Meaning of the voxel values of a scan that was not; None: detect it.
            whole: Keep whole slices for a preview.

        Raises:
            InputError: The scan cannot be read, or is not a CT that can be segmented.
        """
        if isinstance(scan, Scan):
            scan = examine_scan(CachedScan(scan), intensity)
        spec = self.spec
        return preprocess_scan(scan, canvas=spec.canvas, crop=spec.crop, whole=whole)

    def predict(
        self, preprocessed: PreprocessedScan, *, threshold: float | None = None
    ) -> Prediction:
        """Segment a preprocessed scan.

        Args:
            preprocessed: The scan.
            threshold: Probability threshold; None: that of the model.
        """
        limit = self.spec.threshold if threshold is None else threshold
        mean, masks = average(self._maps(preprocessed.planes), threshold=limit)
        processed = apply_rules(
            mean,
            self._rules,
            hu=preprocessed.planes,
            names=self.regions.names,
            pixel_ml=preprocessed.pixel_ml,
            threshold=limit,
        )
        final = processed.probabilities
        with ThreadPoolExecutor(1) as pool:
            sides = pool.submit(self._sides, final >= limit)
            quality = quality_scores(final, masks, threshold=limit)
            return Prediction(
                preprocessed,
                self.regions,
                limit,
                final,
                sides.result(),
                quality,
                processed.notes,
                self._expected_dice_models(limit),
                self.spec.side_labels,
            )

    def _expected_dice_models(self, threshold: float) -> Mapping[str, ExpectedDiceModel]:
        """Return the fits, but only if the model runs with the settings that it was scored with."""
        single = len(self.models) == 1 and self._transforms == (IDENTITY,)
        as_scored = self._rules == self.spec.postprocessing and threshold == self.spec.threshold
        return self.spec.expected_dice if single and as_scored else {}

    def _maps(self, planes: NDArray[np.int16]) -> Iterator[tuple[TTATransform, Floats]]:
        """Yield the probabilities of each model for each transformed copy, transformed back."""
        for model, transform in itertools.product(self.models, self._transforms):
            copy = np.ascontiguousarray(transform.apply(planes))
            yield transform, transform.invert(model.engine.probabilities(copy))

    def _sides(self, masks: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
        if LUNG not in self.regions.names:
            return None
        return widen_sides(lung_sides(masks[..., self.regions.names.index(LUNG)]))


def load(
    path: Path,
    *,
    engine: EngineName | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> Model:
    """Load a model without running code from it and without a network connection.

    Args:
        path: An exported ``.onnx`` file, or the folder of a trained model.
        engine: Engine that runs the model; None: OpenVINO if it is installed, otherwise ONNX
            Runtime, for a file; Keras for a folder.
        device: ``auto`` is the CPU, except that Keras uses a GPU if there is one, and then
            refuses ``cpu``.
        precision: ``float32`` forbids half precision; Keras computes in that of the network.

    Raises:
        InputError: There is no model, it is damaged or of a newer format version, or the engine
            cannot run it on this device or in this precision.
    """
    if path.is_dir():
        if engine not in (None, "keras"):
            raise InputError(
                f"--engine {engine} needs an exported model, but {path} is the folder of a trained "
                "model; run `thorax export`"
            )
        return _load_folder(path, device=device, precision=precision)
    if engine == "keras":
        raise InputError(
            f"--engine keras needs the folder of a trained model, but {path} is a file; name the "
            "folder or omit --engine"
        )
    from thorax.models.onnx_file import read_model

    spec, graph = read_model(path)
    loaded = open_engine(
        graph,
        engine or default_engine(),
        window=spec.window,
        device=device,
        precision=precision,
    )
    return Model(spec, loaded, hashlib.sha256(graph).hexdigest())


def _load_folder(folder: Path, *, device: Device, precision: Precision) -> Model:
    from thorax.models.engines.keras_engine import KerasEngine
    from thorax.models.keras_file import MODEL, load_network
    from thorax.models.keras_options import check_keras_options
    from thorax.models.spec import load_spec

    spec = load_spec(folder)
    network = load_network(folder / MODEL)
    check_keras_options(network, device=device, precision=precision)
    digests = file_sha256(folder / SPEC) + file_sha256(folder / MODEL)
    digest = hashlib.sha256(digests.encode()).hexdigest()
    return Model(spec, KerasEngine(network, spec.window), digest)


def _transforms(spec: ModelSpec) -> tuple[TTATransform, ...]:
    """Return the transforms that suit the model; mirroring only if it was trained with it."""
    flipped = bool(spec.provenance.get("augmentation", {}).get("flip"))
    transforms = transforms_for(list(spec.regions))
    return tuple(transform for transform in transforms if flipped or transform.name != MIRRORED)


def _check_compatible(first: ModelSpec, other: ModelSpec) -> None:
    for key in ("canvas", "crop", "regions"):
        value, other_value = getattr(first, key), getattr(other, key)
        if value != other_value:
            raise InputError(
                f"models of an ensemble must have the same `{key}`, got {value} and {other_value} "
                f"(in {SPEC})"
            )

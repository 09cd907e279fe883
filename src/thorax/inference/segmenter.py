"""A segmenter: one model or several, and what finds the regions of a scan with them."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.lung_sides import LUNG, lung_sides, read_sides, side_map
from thorax.imaging.placement import Placement
from thorax.imaging.regions import Regions
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.postprocessing import postprocess as apply_rules
from thorax.inference.quality import QualityScores, plausibility_warnings, quality_scores
from thorax.inference.tta import IDENTITY, MIRRORED, TTATransform, transforms_for
from thorax.io import Scan
from thorax.models.engines import Device, Engine, EngineName, Precision
from thorax.models.engines.open import open_engine
from thorax.models.spec import SPEC, ExpectedDice, ExpectedDiceModel, ModelSpec
from thorax.preprocessing.scan import PreprocessedScan, preprocess_scan

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A network, what it was trained for, and which it is.

    Args:
        spec: What it was trained for.
        engine: What runs it.
        digest: SHA-256 of its file.
    """

    spec: ModelSpec
    engine: Engine
    digest: str


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a segmenter found in a scan, still on the canvas.

    Args:
        opened: The scan.
        regions: What was looked for.
        threshold: Restored probability from which on a voxel belongs to a region.
        probabilities: After cleaning, shape ``(N, H, W, R)``.
        sides: 1 right and 2 left in and around the lung, shape ``(N, H, W)``; None where there is
            no region of that name.
        quality: One a region.
        notes: What cleaning took away.
        expectations: Region name → what its certainty stands for, where that is known.
    """

    opened: PreprocessedScan
    regions: Regions
    threshold: float
    probabilities: Floats
    sides: NDArray[np.uint8] | None
    quality: list[QualityScores]
    notes: tuple[str, ...]
    expectations: Mapping[str, ExpectedDiceModel] = field(default_factory=dict)

    @property
    def expected_dice(self) -> dict[str, ExpectedDice]:
        """The Dice to expect of each region, where something was found and held-out cases tell."""
        named = zip(self.regions.names, self.quality, strict=True)
        return {
            name: self.expectations[name].dice(doubt.certainty)
            for name, doubt in named
            if name in self.expectations and doubt.certainty is not None
        }

    @property
    def placement(self) -> Placement:
        """How planes lie on the canvas."""
        return self.opened.placement

    def statistics(self, volumes: RegionMeasurements) -> dict[str, Any]:
        """All figures, ready for JSON: those of `RegionMeasurements.result`, and the Dice to expect."""
        expected = {name: asdict(told) for name, told in self.expected_dice.items()}
        return {**volumes.result(), "expected_dice": expected}

    def warnings(self, statistics: dict[str, Any]) -> tuple[str, ...]:
        """Why to look at the masks, in words.

        Args:
            statistics: As `statistics` gives them.
        """
        named = zip(self.regions.names, self.quality, strict=True)
        seen = (
            reason
            for name, doubt in named
            for reason in doubt.warnings(name, self.expectations.get(name))
        )
        return (*seen, *plausibility_warnings(statistics))


class Segmenter:
    """Segments scans with one model, or with the mean of several.

    Args:
        models: Alike in canvas, crop and regions; the first tells threshold and cleaning.
        tta: Test-time augmentation: take the mean over transformed copies of the scan.
        postprocess: Apply the postprocessing rules of the model's spec.

    Raises:
        InputError: The models do not go together.
    """

    def __init__(
        self, models: Sequence[Model], *, tta: bool = False, postprocess: bool = True
    ) -> None:
        self.models = tuple(models)
        self.spec = self.models[0].spec
        self.regions = Regions(self.spec.regions)
        self._tta = _transforms(self.spec) if tta else (IDENTITY,)
        self._rules = self.spec.postprocessing if postprocess else {}
        for model in self.models[1:]:
            _check_alike(self.spec, model.spec)

    @cached_property
    def digest(self) -> str:
        """Tells the models from others."""
        return "+".join(model.digest[:12] for model in self.models)

    @cached_property
    def settings(self) -> str:
        """Tells apart ways to use the same models."""
        variants = "+".join(variant.name for variant in self._tta)
        return variants + (" cleaned" if self._rules else "")

    def open(self, scan: Scan, *, domain: IntensityScale | None = None) -> PreprocessedScan:
        """Read a scan and put it on the canvas; see `thorax.preprocessing.scan.preprocess_scan`."""
        return preprocess_scan(scan, canvas=self.spec.canvas, crop=self.spec.crop, domain=domain)

    def find(self, opened: PreprocessedScan, *, threshold: float | None = None) -> Prediction:
        """Find the regions of a scan on the canvas.

        Args:
            opened: The scan.
            threshold: Instead of the one in the spec.
        """
        limit = self.spec.threshold if threshold is None else threshold
        each = [
            self._seen(model, variant, opened.planes)
            for model in self.models
            for variant in self._tta
        ]
        mean: Floats = each[0] if len(each) == 1 else np.asarray(np.mean(each, axis=0))
        cleaned = apply_rules(
            mean,
            self._rules,
            names=self.regions.names,
            pixel_ml=opened.pixel_ml,
            threshold=limit,
        )
        clear = cleaned.probabilities
        with ThreadPoolExecutor(1) as pool:
            sides = pool.submit(self._sides, clear >= limit)
            doubted = quality_scores(clear, [one >= limit for one in each], threshold=limit)
            return Prediction(
                opened,
                self.regions,
                limit,
                clear,
                sides.result(),
                doubted,
                cleaned.notes,
                self._expectations(limit),
            )

    def _expectations(self, threshold: float) -> Mapping[str, ExpectedDiceModel]:
        """What is known of one model as it is used in the pipeline holds for no other use."""
        alone = len(self.models) == 1 and self._tta == (IDENTITY,)
        cleaned = self._rules == self.spec.postprocessing
        return (
            self.spec.expected_dice
            if alone and cleaned and threshold == self.spec.threshold
            else {}
        )

    def _seen(self, model: Model, variant: TTATransform, planes: NDArray[np.int16]) -> Floats:
        changed = np.ascontiguousarray(variant.apply(planes))
        found = model.engine.probabilities(changed, 0, len(planes), window=model.spec.window)
        return variant.invert(found)

    def _sides(self, masks: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
        if LUNG not in self.regions.names:
            return None
        sides = lung_sides(masks[..., self.regions.names.index(LUNG)])
        return read_sides(side_map(sides))


def load(
    path: Path,
    *,
    engine: EngineName | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> Model:
    """Load a model; nothing in it is run as code and nothing is fetched.

    Args:
        path: An exported ``.onnx`` file, or the folder that training leaves.
        engine: What runs it. Unless given: OpenVINO for a file, Keras for a folder.
        device: ``auto`` is the CPU, but for Keras, which takes a GPU if there is one.
        precision: ``float32`` forbids half precision.

    Raises:
        InputError: There is no model, it is damaged or of a newer form, or the engine cannot run
            it.
    """
    if path.is_dir():
        if engine not in (None, "keras"):
            raise InputError(
                f"--engine {engine} needs an exported model, but {path} is the folder that "
                "training leaves; run `thorax export`"
            )
        return _load_folder(path)
    if engine == "keras":
        raise InputError(
            f"--engine keras needs the folder that training leaves, but {path} is a file"
        )
    from thorax.models.onnx_file import read_model

    spec, graph = read_model(path)
    running = open_engine(graph, engine or "openvino", device=device, precision=precision)
    return Model(spec, running, hashlib.sha256(graph).hexdigest())


def _load_folder(folder: Path) -> Model:
    from thorax.models.engines.keras_engine import KerasEngine
    from thorax.models.keras_file import MODEL, load_network
    from thorax.models.spec import load_spec

    spec = load_spec(folder)
    network = load_network(folder / MODEL)
    return Model(spec, KerasEngine(network), file_sha256(folder / MODEL))


def _transforms(spec: ModelSpec) -> tuple[TTATransform, ...]:
    """Those that the model can be expected to segment: mirrored only if it was trained so."""
    flips = bool(spec.provenance.get("augmentation", {}).get("flip"))
    found = transforms_for(list(spec.regions))
    return tuple(variant for variant in found if flips or variant.name != MIRRORED)


def _check_alike(first: ModelSpec, other: ModelSpec) -> None:
    for key in ("canvas", "crop", "regions"):
        one, two = getattr(first, key), getattr(other, key)
        if one != two:
            raise InputError(
                f"models of an ensemble must be alike, but their `{key}` are {one} and {two} "
                f"(in {SPEC})"
            )

"""Model spec: input, regions, thresholds, postprocessing and provenance of a trained network."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.crop import Crop
from thorax.common.errors import InputError, first_problem
from thorax.imaging.intensity import Window

SPEC = "spec.json"

SUMMARY = "summary"
"""Key of the provenance: the training data in one line, as given to the export."""

FORMAT = 5

RENAMED_IN = 4
"""Format version that renamed the keys of `_RENAMED`."""

_RENAMED = {
    "cleaning": "postprocessing",
    "expected": "expected_dice",
    "shift": "bias",
    "error": "half_width",
}

MAX_CHARACTERS = 2**24
"""Limit for a spec; the provenance of a thousand cases needs a hundredth of it."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class PostprocessingRule:
    """Postprocessing of one region. The default changes nothing.

    Args:
        largest: Number of largest connected components to keep; 0: all.
        share: Also keep components of at least this share of the largest one: diseased or
            operated lungs may consist of several components.
        fill_holes: Fill cavities that the region encloses, and small holes in a slice; complete the
            bullae of the region ``lung``.
        minimum_ml: Remove components smaller than this volume.
        inside: Region that contains this one. Voxels outside of it are removed: an error of the
            inner region cannot enlarge the outer one, which is processed first.
    """

    largest: Annotated[int, Field(ge=0)] = 0
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    fill_holes: bool = False
    minimum_ml: Annotated[float, Field(ge=0)] = 0.0
    inside: str | None = None


Share = Annotated[float, Field(ge=0, le=1)]

Label = Annotated[int, Field(ge=1, le=255)]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ExpectedDice:
    """Expected Dice of one region in one scan, with its 90 % prediction interval.

    Args:
        dice: Most likely Dice.
        low: Lower end of the interval, which contains nine of ten similar cases.
        high: Upper end of the interval.
    """

    dice: Share
    low: Share
    high: Share

    def __str__(self) -> str:
        return f"{self.dice:.2f} ({self.low:.2f} to {self.high:.2f})"


MIN_CASES = 3
"""Fewest held-out cases to fit an expected Dice on: two do not determine the spread."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ExpectedDiceModel:
    """Relation between the certainty of a model and Dice on held-out cases, for one region.

    Dice is ``slope * certainty + bias``. With few held-out cases the slope is 1, and only the mean
    difference between Dice and certainty is fitted. Other kinds of scans may have a lower Dice than
    expected.

    Args:
        cases: Number of held-out cases.
        bias: Mean of Dice minus slope times `thorax.inference.quality.certainty`.
        half_width: Half the width of the prediction interval for a new case.
        least_certainty: Certainty below which a mask should be reviewed.
        slope: Increase of Dice with certainty.
    """

    cases: Annotated[int, Field(ge=MIN_CASES)]
    bias: Annotated[float, Field(allow_inf_nan=False)]
    half_width: Annotated[float, Field(ge=0)]
    least_certainty: float
    slope: float = 1.0

    def dice(self, certainty: float) -> ExpectedDice:
        """Return the expected Dice for a certainty.

        Example:
            >>> model = ExpectedDiceModel(5, bias=0.05, half_width=0.04, least_certainty=0.8)
            >>> print(model.dice(0.9))
            0.95 (0.91 to 0.99)
        """
        middle = self.slope * certainty + self.bias
        low, dice, high = (
            round(min(max(value, 0.0), 1.0), 4)
            for value in (middle - self.half_width, middle, middle + self.half_width)
        )
        return ExpectedDice(dice, low, high)

    def __str__(self) -> str:
        times = "" if self.slope == 1 else f"{self.slope:.2f} × "
        fit = f"{times}certainty {self.bias:+.3f} ± {self.half_width:.3f}"
        return f"{fit} ({self.cases} held-out cases)"


def check_side_labels(sides: Mapping[str, int], regions: Mapping[str, tuple[int, ...]]) -> None:
    """Check labels of the right and the left lung against the regions of a model.

    Raises:
        InputError: They are not two different labels of the region ``lung``.
    """
    labels = set(sides.values())
    valid = set(sides) == {"right", "left"} and len(labels) == 2
    if labels and not (valid and labels <= set(regions.get("lung", ()))):
        raise InputError(
            "side labels must be two different labels of the region `lung`, got "
            f"{dict(sides)} with the regions {dict(regions)}; name others"
        )


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ModelSpec:
    """Input and output of a trained network, and its provenance.

    Args:
        canvas: Side of the canvas, in pixels.
        crop: Crop of the slices before scaling.
        context: Neighbouring slices on each side.
        window_hu: HU that become 0 and 1 in the network's input.
        regions: Region name → label values, in the order of the output maps.
        threshold: Lowest restored probability of a voxel inside a region.
        postprocessing: Region name → postprocessing of its mask.
        provenance: Training data, settings and software versions.
        metrics: Scores of the test cases, as in `reports/metrics.json`; empty before export.
        expected_dice: Region name → expected Dice model; empty unless exported with the scores of
            held-out cases.
        licence: Licence of the model; empty if unknown.
        side_labels: ``right`` and ``left`` → label value of that lung in masks; empty: voxels of
            both lungs have the label of the region ``lung``.
        format: Format version of the spec.
    """

    canvas: Annotated[int, Field(ge=1, le=1024)]
    crop: Crop
    context: Annotated[int, Field(ge=0, le=127)]
    window_hu: tuple[float, float]
    regions: dict[str, tuple[int, ...]]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    postprocessing: dict[str, PostprocessingRule] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    expected_dice: dict[str, ExpectedDiceModel] = field(default_factory=dict)
    licence: str = ""
    side_labels: dict[str, Label] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_side_labels(self.side_labels, self.regions)

    @property
    def window(self) -> Window:
        """Intensity window."""
        return Window(*self.window_hu)

    @property
    def training_data(self) -> str:
        """Training data in one line: the summary of the export, or dataset and cases."""
        if summary := self.provenance.get(SUMMARY):
            return str(summary)
        cases = self.provenance.get("split", {}).get("train", ())
        return f"{len(cases)} cases of {self.provenance.get('dataset', 'unknown')}"

    @property
    def mean_dice(self) -> dict[str, float]:
        """Region name → mean Dice of the test cases, for regions that were scored."""
        scored = {name: self.metrics.get(name) for name in self.regions}
        dice = {
            name: metrics.get("dice")
            for name, metrics in scored.items()
            if isinstance(metrics, dict)
        }
        means = {name: value.get("mean") for name, value in dice.items() if isinstance(value, dict)}
        return {name: mean for name, mean in means.items() if isinstance(mean, float | int)}


@checked(frozen=True)
class _Versioned:
    """Key that the specs of all format versions have."""

    format: int


def spec_json(spec: ModelSpec) -> str:
    """Return the spec as JSON text."""
    return json.dumps(TypeAdapter(ModelSpec).dump_python(spec, mode="json"), indent=1) + "\n"


def cannot_load(path: Path, reason: str) -> InputError:
    """Return the error for a model file that cannot be loaded, with the reason."""
    return InputError(f"model {path} cannot be loaded: {reason}")


def parse_spec(content: str | bytes, *, source: Path) -> ModelSpec:
    """Read a spec from JSON text.

    Raises:
        InputError: The spec is damaged or has a newer format version; the message names
            ``source``.
    """
    if len(content) > MAX_CHARACTERS:
        raise InputError(
            f"{source} is damaged: its spec must have at most {MAX_CHARACTERS:,} characters"
        )
    try:
        version = TypeAdapter(_Versioned).validate_json(content).format
        if version > FORMAT:
            raise InputError(
                f"{source} was written by a newer thorax (format version {version}, this thorax "
                f"reads up to {FORMAT}); update thorax"
            )
        if version < RENAMED_IN:
            content = json.dumps(_with_new_names(json.loads(content)))
        return TypeAdapter(ModelSpec).validate_json(content)
    except ValidationError as error:
        raise InputError(f"{source} is damaged: {first_problem(error)}") from None


def _with_new_names(spec: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of a spec of format version 1 to 3 to those of version 4."""
    spec = {_RENAMED.get(key, key): value for key, value in spec.items()}
    expected = spec.get("expected_dice")
    if isinstance(expected, dict) and all(isinstance(value, dict) for value in expected.values()):
        spec["expected_dice"] = {
            region: {_RENAMED.get(key, key): value for key, value in model.items()}
            for region, model in expected.items()
        }
    return spec


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec in a model folder, without the network.

    Raises:
        InputError: There is no spec, it is damaged, or it has a newer format version.
    """
    try:
        content = (folder / SPEC).read_bytes()
    except OSError:
        raise InputError(
            f"there is no model in {folder}; train one with `dvc repro`, or name one with --model"
        ) from None
    return parse_spec(content, source=folder / SPEC)


NO_POSTPROCESSING = PostprocessingRule()


def default_postprocessing(regions: Iterable[str]) -> dict[str, PostprocessingRule]:
    """Return rules that keep the larger components of ``lung`` and fill holes in it.

    Other regions are not changed. The two lungs are often connected on the canvas: a fixed number
    of two components would then keep a tiny fragment as the second lung. A minimum share keeps a
    lung that is mostly destroyed, such as 50 mL next to 2.5 L. A minimum volume keeps the masks of
    scans without lungs empty.

    Example:
        >>> default_postprocessing(["lung", "infection"])["lung"]
        PostprocessingRule(largest=1, share=0.02, fill_holes=True, minimum_ml=3.0, inside=None)
    """
    lung = PostprocessingRule(largest=1, share=0.02, fill_holes=True, minimum_ml=3.0)
    return {name: lung if name == "lung" else NO_POSTPROCESSING for name in regions}

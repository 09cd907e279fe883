"""What a network was trained for, and what its masks mean: the spec that travels with it."""

import json
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.errors import InputError, first_problem
from thorax.common.params import Crop
from thorax.imaging.intensity import Window

SPEC = "spec.json"

FORMAT = 4

RENAMED_IN = 4
"""Format version that renamed the keys of `_RENAMED`."""

_RENAMED = {
    "cleaning": "postprocessing",
    "expected": "expected_dice",
    "shift": "bias",
    "error": "half_width",
}

LARGEST = 2**24
"""Characters; a thousand cases of provenance take a hundredth of it."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class PostprocessingRule:
    """What is done to one region. By default nothing.

    Args:
        largest: Connected pieces that are kept; 0: all.
        share: Pieces of at least this share of the largest are kept beside them: operated or
            diseased lungs come in odd pieces.
        fill_holes: Fill what the region encloses on all sides, and small holes in a plane.
        minimum_ml: Pieces smaller than this are removed.
        inside: Name of a region that this one must lie in. What lies outside it is cut off: an
            error of the inner region cannot enlarge the outer one, which is cleaned first.
    """

    largest: Annotated[int, Field(ge=0)] = 0
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    fill_holes: bool = False
    minimum_ml: Annotated[float, Field(ge=0)] = 0.0
    inside: str | None = None


Share = Annotated[float, Field(ge=0, le=1)]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ExpectedDice:
    """The Dice that is expected of one region of one scan.

    Args:
        dice: The most likely one.
        low: Nine of ten cases of the same kind lie between this
        high: and this.
    """

    dice: Share
    low: Share
    high: Share

    def __str__(self) -> str:
        return f"{self.dice:.2f} ({self.low:.2f} to {self.high:.2f})"


LEAST_CASES = 3
"""Cases below which nothing is expected: two tell hardly anything of a spread."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ExpectedDiceModel:
    """What the certainty of a model stood for on held-out cases, for one region.

    One figure is learnt, the mean difference of Dice and certainty: held-out cases are too few for
    more. Scans of another kind than those may do worse than is told.

    Args:
        cases: Held-out cases that this was learnt on.
        bias: Dice is larger than `thorax.inference.quality.certainty` by so much, in the mean.
        half_width: Half the width of the interval for a further case.
        least_certainty: A further case is less sure than this in one of twenty, or less sure than
            any held-out case, whichever is more.
    """

    cases: Annotated[int, Field(ge=LEAST_CASES)]
    bias: Annotated[float, Field(ge=-1, le=1)]
    half_width: Annotated[float, Field(ge=0)]
    least_certainty: float

    def dice(self, certainty: float) -> ExpectedDice:
        """The Dice that a certainty stands for.

        Example:
            >>> print(ExpectedDiceModel(5, shift=0.05, error=0.04, least_certainty=0.8).dice(0.9))
            0.95 (0.91 to 0.99)
        """
        middle = certainty + self.bias
        low, dice, high = (
            round(min(max(figure, 0.0), 1.0), 4)
            for figure in (middle - self.half_width, middle, middle + self.half_width)
        )
        return ExpectedDice(dice, low, high)

    def __str__(self) -> str:
        return f"certainty {self.bias:+.3f} ± {self.half_width:.3f} ({self.cases} held-out cases)"


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ModelSpec:
    """What a network was trained for.

    Args:
        canvas: Pixels a side of the canvas.
        crop: How planes are cropped before they are scaled.
        context: Neighbouring planes on each side.
        window_hu: The HU that the network sees as 0 and 1.
        regions: Region name → label values, in the order of the output maps.
        threshold: Restored probability from which on a voxel belongs to a region.
        postprocessing: Region name → what is done to it after the network; see
            `thorax.models.spec.PostprocessingRule`.
        provenance: What the network was trained on and how, for people and for `predict`.
        metrics: Scores on the test cases, as in `reports/metrics.json`; empty until exported.
        expected_dice: Region name → what Dice to expect of a mask; empty until exported with the scores
            of held-out cases.
        licence: Under which the model may be used; empty until said.
        format: Version of this form.
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
    format: int = FORMAT

    @property
    def window(self) -> Window:
        """The intensity window."""
        return Window(*self.window_hu)


@checked(frozen=True)
class _Versioned:
    """The key that specs of every format version have."""

    format: int


def spec_json(spec: ModelSpec) -> str:
    """The spec as JSON text."""
    return json.dumps(TypeAdapter(ModelSpec).dump_python(spec, mode="json"), indent=1) + "\n"


def parse_spec(content: str | bytes, *, source: Path) -> ModelSpec:
    """Read a spec from JSON text.

    Raises:
        InputError: It is damaged, or of a newer form; ``source`` is named.
    """
    if len(content) > LARGEST:
        raise InputError(f"{source} is damaged: its spec must have at most {LARGEST:,} characters")
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
    """A spec of format version 1 to 3 with the keys of version 4."""
    spec = {_RENAMED.get(key, key): value for key, value in spec.items()}
    expected = spec.get("expected_dice")
    if isinstance(expected, dict) and all(isinstance(value, dict) for value in expected.values()):
        spec["expected_dice"] = {
            region: {_RENAMED.get(key, key): value for key, value in model.items()}
            for region, model in expected.items()
        }
    return spec


def load_spec(folder: Path) -> ModelSpec:
    """Read the spec in a segmenter's folder, without the network and whatever runs it.

    Raises:
        InputError: There is no segmenter, or it is damaged or of a newer form.
    """
    try:
        content = (folder / SPEC).read_bytes()
    except OSError:
        raise InputError(
            f"there is no model in {folder}; train one with `dvc repro`, or name one with --model"
        ) from None
    return parse_spec(content, source=folder / SPEC)


NOTHING = PostprocessingRule()


def default_postprocessing(regions: Iterable[str]) -> dict[str, PostprocessingRule]:
    """Keep the larger pieces of ``lung`` without holes; leave every other region as it is.

    Two lungs often hang together on the canvas. A fixed number of pieces would then keep a speck
    for the second lung; a share keeps a lung that is all but destroyed, 50 mL beside 2.5 L.

    Example:
        >>> default_postprocessing(["lung", "infection"])["lung"]
        Cleaning(largest=1, share=0.02, fill_holes=True, minimum_ml=0.0, inside=None)
    """
    lung = PostprocessingRule(largest=1, share=0.02, fill_holes=True)
    return {name: lung if name == "lung" else NOTHING for name in regions}

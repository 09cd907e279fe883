"""What a network was trained for, and what its masks mean: the spec that travels with it."""

import json
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.canvases import Crop
from thorax.errors import InputError, first_problem
from thorax.expectation import Expectation
from thorax.intensity import Window
from thorax.postprocess import Cleaning

SPEC = "spec.json"
FORMAT = 3
LARGEST = 2**24
"""Characters; a thousand cases of provenance take a hundredth of it."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class SegmenterSpec:
    """What a network was trained for.

    Args:
        canvas: Pixels a side of the canvas.
        crop: How planes are cropped before they are scaled.
        context: Neighbouring planes on each side.
        window_hu: The HU that the network sees as 0 and 1.
        regions: Region name → label values, in the order of the output maps.
        threshold: Restored probability from which on a voxel belongs to a region.
        cleaning: Region name → what is done to it after the network; see
            `thorax.postprocess.Cleaning`.
        provenance: What the network was trained on and how, for people and for `predict`.
        metrics: Scores on the test cases, as in `reports/metrics.json`; empty until exported.
        expected: Region name → what Dice to expect of a mask; empty until exported with the scores
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
    cleaning: dict[str, Cleaning] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Expectation] = field(default_factory=dict)
    licence: str = ""
    format: int = FORMAT

    @property
    def window(self) -> Window:
        """The intensity window."""
        return Window(*self.window_hu)


@checked(frozen=True)
class _Form:
    """All that the specs of every form have in common."""

    format: int


def spec_json(spec: SegmenterSpec) -> str:
    """The spec as JSON text."""
    return json.dumps(TypeAdapter(SegmenterSpec).dump_python(spec, mode="json"), indent=1) + "\n"


def parse_spec(content: str | bytes, *, source: Path) -> SegmenterSpec:
    """Read a spec from JSON text.

    Raises:
        InputError: It is damaged, or of a newer form; ``source`` is named.
    """
    if len(content) > LARGEST:
        raise InputError(f"{source} is damaged: its spec must have at most {LARGEST:,} characters")
    try:
        form = TypeAdapter(_Form).validate_json(content).format
        if form > FORMAT:
            raise InputError(
                f"{source} was written by a newer thorax (form {form}, known: {FORMAT}); "
                "update thorax"
            )
        return TypeAdapter(SegmenterSpec).validate_json(content)
    except ValidationError as error:
        raise InputError(f"{source} is damaged: {first_problem(error)}") from None


def load_spec(folder: Path) -> SegmenterSpec:
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

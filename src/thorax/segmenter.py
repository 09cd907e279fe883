"""A segmenter: a network and all that makes it usable, saved and loaded as one folder.

``model.keras`` holds the network in float32, made of Keras' own layers, so that it loads without
this package; ``spec.json`` says what goes in and what comes out.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.canvases import FULL, Crop, find_placement, place_scan
from thorax.engines import Engine, KerasEngine, load_network
from thorax.errors import InputError, first_problem
from thorax.geometry import Placement
from thorax.intensity import HU, Domain, Window
from thorax.regions import Regions
from thorax.scans import PlaneWriter, Scan, mask_file
from thorax.writing import whole_file, write_text

MODEL, SPEC = "model.keras", "spec.json"
FORMAT = 1
Watch = Callable[[Iterable[tuple[int, int]]], Iterable[tuple[int, int]]]


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
        provenance: What the network was trained on and how, for people and for `predict`.
        format: Version of this form.
    """

    canvas: int
    crop: Crop
    context: int
    window_hu: tuple[float, float]
    regions: dict[str, tuple[int, ...]]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    provenance: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def window(self) -> Window:
        """The intensity window."""
        return Window(*self.window_hu)


@checked(frozen=True)
class _Form:
    """All that the specs of every form have in common."""

    format: int


class Segmenter:
    """Segments scans.

    Args:
        spec: What the network was trained for.
        engine: What runs the network.
    """

    def __init__(self, spec: SegmenterSpec, engine: Engine) -> None:
        self.spec = spec
        self.regions = Regions(spec.regions)
        self._engine = engine

    def segment(
        self,
        scan: Scan,
        mask: Path,
        *,
        domain: Domain = HU,
        threshold: float | None = None,
        probabilities: bool = False,
        watch: Watch = iter,
    ) -> list[Path]:
        """Write the mask of a scan, on its own grid, whole or not at all.

        Planes are worked on slab by slab; only the small canvases are held for the whole scan.

        Args:
            scan: The scan.
            mask: Where the mask goes; ends in ``.nii`` or ``.nii.gz``.
            domain: What the voxel values of the scan mean.
            threshold: Instead of the one in the spec.
            probabilities: Also write an 8-bit file a region beside the mask, 0..255 for 0..1.
            watch: Wraps the slabs that are worked on, for instance in a progress bar.

        Returns:
            The files written, the mask first.

        Raises:
            InputError: The scan is unusable or the mask cannot be written.
        """
        placement = find_placement(scan, domain, canvas=self.spec.canvas, crop=self.spec.crop)
        planes = place_scan(scan, domain, placement)
        names = written_files(mask, self.spec, probabilities=probabilities)
        with ExitStack() as files:
            writer, *maps = (
                files.enter_context(mask_file(name, scan, scale=scale))
                for name, scale in zip(names, (1.0, *[1 / FULL] * len(names)), strict=False)
            )
            for start, stop in watch(scan.spans()):
                restored = self._restored(planes, start, stop, placement)
                masks = restored >= (self.spec.threshold if threshold is None else threshold)
                writer.write(start, self.regions.merge(masks))
                _write_maps(maps, start, restored)
        return names

    def save(self, folder: Path) -> None:
        """Write ``model.keras`` and ``spec.json``; equal segmenters give equal bytes."""
        with whole_file(folder / MODEL) as temporary:
            temporary.write_bytes(_without_dates(self._engine.keras_bytes()))
        content = TypeAdapter(SegmenterSpec).dump_python(self.spec, mode="json")
        write_text(folder / SPEC, json.dumps(content, indent=1) + "\n")

    def _restored(
        self, planes: NDArray[np.int16], start: int, stop: int, placement: Placement
    ) -> NDArray[np.float32]:
        """Probabilities on the native grid, shape ``(R, n, X, Y)``."""
        found = self._engine.probabilities(planes, start, stop, window=self.spec.window)
        return np.stack([placement.restore(found[..., r]) for r in range(found.shape[-1])])


def load_spec(folder: Path) -> SegmenterSpec:
    """Read the spec alone, without the network and whatever runs it.

    Raises:
        InputError: There is no segmenter, or it is damaged or of a newer form.
    """
    try:
        content = (folder / SPEC).read_bytes()
        form = TypeAdapter(_Form).validate_json(content).format
        if form > FORMAT:
            raise InputError(
                f"{folder} was written by a newer thorax (form {form}, known: {FORMAT}); "
                "update thorax"
            )
        return TypeAdapter(SegmenterSpec).validate_json(content)
    except OSError:
        raise InputError(
            f"there is no model in {folder}; train one with `dvc repro`, or name one with --model"
        ) from None
    except ValidationError as error:
        raise InputError(f"{folder / SPEC} is damaged: {first_problem(error)}") from None


def load(folder: Path) -> Segmenter:
    """Load a segmenter; nothing in it is run as code and nothing is fetched.

    Args:
        folder: As written by `Segmenter.save`.

    Raises:
        InputError: There is no segmenter, or it is damaged or of a newer form.
    """
    spec = load_spec(folder)
    return Segmenter(spec, KerasEngine(load_network(folder / MODEL)))


def written_files(mask: Path, spec: SegmenterSpec, *, probabilities: bool) -> list[Path]:
    """The files that `Segmenter.segment` writes, the mask first.

    Example:
        >>> spec = SegmenterSpec(128, "none", 2, (-1000, 400), {"lung": (1,)})
        >>> [path.name for path in written_files(Path("out/a.nii.gz"), spec, probabilities=True)]
        ['a.nii.gz', 'a_lung.nii.gz']
    """
    stem, dot, suffix = mask.name.rpartition(".nii")
    maps = [mask.with_name(f"{stem}_{region}{dot}{suffix}") for region in spec.regions]
    return [mask, *maps] if probabilities else [mask]


def _write_maps(maps: list[PlaneWriter], start: int, restored: NDArray[np.float32]) -> None:
    for writer, region in zip(maps, restored, strict=False):
        writer.write(start, np.rint(np.clip(region, 0.0, 1.0) * FULL))


def _without_dates(keras_file: bytes) -> bytes:
    """Rewrite a `.keras` archive without the time of writing, which Keras notes in two places."""
    rewritten = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(keras_file)) as old,
        zipfile.ZipFile(rewritten, "w") as new,
    ):
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                metadata = json.loads(content) | {"date_saved": ""}
                content = json.dumps(metadata).encode()
            new.writestr(zipfile.ZipInfo(name), content)
    return rewritten.getvalue()

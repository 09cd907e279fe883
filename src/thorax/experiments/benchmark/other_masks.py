"""Masks of other tools, scored against the same truth."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.params import EvaluateParams
from thorax.common.text import listed
from thorax.datasets.dataset import Case, Dataset
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.mask_pairs import find_pairs
from thorax.evaluation.scoring import SideLabels, open_pair, score_pair
from thorax.experiments.benchmark.scores import benchmark_rows
from thorax.experiments.summaries import Row
from thorax.imaging.grid import grid_note
from thorax.imaging.lung_sides import LUNG
from thorax.imaging.regions import Regions, parse_regions
from thorax.io import Scan

OURS = "thorax"
"""Name of our results in tables."""

_SIDES = {"left_lung": "left", "right_lung": "right"}
"""Names in ``--predicted-region`` → side."""


@dataclass(frozen=True)
class OtherMasks:
    """Masks of another tool.

    Args:
        name: Name of the tool, for tables.
        folder: One mask per case, named like the case.
        regions: Label values of the regions that the tool segments.
        sides: ``left`` and ``right`` → label values on this side.
    """

    name: str
    folder: Path
    regions: Regions
    sides: SideLabels


def parse_masks(
    masks: Sequence[str], labels: Sequence[str], dataset: Dataset, *, ignored: tuple[int, ...] = ()
) -> list[OtherMasks]:
    """Parse the options for masks of other tools.

    Args:
        masks: ``NAME=FOLDER`` options.
        labels: ``REGION=1,2`` options for all tools, or ``NAME:REGION=1,2`` for one. Without any
            for a tool, its label values are those of the dataset.
        dataset: The dataset with the true masks.
        ignored: Label values of the other tools that belong to no region.

    Raises:
        InputError: An option has another format, names an unknown tool or region, or there is no
            such folder.
    """
    folders = _folders(masks)
    if labels and not folders:
        raise InputError("--predicted-region needs --masks")
    for tool in {tool for tool, _ in map(_tool_and_region, labels) if tool} - folders.keys():
        raise InputError(
            f"--predicted-region must name a tool of --masks, {listed(folders)}, got `{tool}`"
        )
    return [
        _other(name, folder, _labels_of(name, labels), dataset, ignored)
        for name, folder in folders.items()
    ]


def score_masks(
    other: OtherMasks,
    dataset: Dataset,
    settings: EvaluateParams,
    *,
    missing: bool,
    note: Callable[[str], None],
) -> list[Row]:
    """Score the masks of another tool on the grid of each scan.

    Args:
        other: The masks.
        dataset: The dataset with the true masks.
        settings: Tolerances and the convention for empty masks.
        missing: True to leave out cases without a mask.
        note: Called with a remark.

    Returns:
        Rows as of `benchmark_rows`, without seed and fold.

    Raises:
        InputError: Masks are missing, grids differ, or a label belongs to no region.
    """
    truth = dataset.cases[0].mask.parent
    pairs = find_pairs(truth, other.folder, missing=missing)
    plain = replace(settings, lesions=[])
    rows: list[Row] = []
    for pair in tqdm(pairs, desc=f"score {other.name}", unit="case"):
        predicted = Scan(pair.predicted)
        for remark in grid_note(predicted, Scan(pair.truth)):
            note(f"{other.name}, {pair.case}: {remark}")
        rows += _score(dataset.case(pair.case), predicted, other, dataset, plain)
    return rows


def _score(
    case: Case, predicted: Scan, other: OtherMasks, dataset: Dataset, settings: EvaluateParams
) -> list[Row]:
    pair = open_pair(
        Scan(case.mask),
        predicted,
        _same_regions(dataset.regions, other.regions.names),
        predicted_regions=other.regions,
        sides=(dataset.sides, other.sides),
    )
    scores = score_pair(pair, settings, case=case.name)
    convention = find_convention(settings.convention)
    return benchmark_rows(
        [score.row(convention) for score in scores.whole],
        [score.row(convention) for score in scores.sides],
    )


def _same_regions(regions: Regions, names: Iterable[str]) -> Regions:
    """Return the regions with these names; the labels of the others are ignored."""
    labels = {name: regions.labels[name] for name in names}
    used = {value for values in labels.values() for value in values}
    others = {value for values in regions.labels.values() for value in values} - used
    return Regions(labels, (*regions.ignored, *sorted(others)))


def _folders(masks: Iterable[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for option in masks:
        name, _, folder = option.partition("=")
        if not name or not folder or ":" in name:
            raise InputError(f"--masks must be NAME=FOLDER, got `{option}`")
        if name in folders:
            raise InputError(f"--masks must have different names, got `{name}` twice")
        if name == OURS:
            raise InputError(f"--masks must not be named `{OURS}`, the name of our results")
        if not Path(folder).is_dir():
            raise InputError(f"--masks must name a folder of masks, but there is no {folder}")
        folders[name] = Path(folder)
    return folders


def _tool_and_region(option: str) -> tuple[str, str]:
    tool, colon, region = option.partition(":")
    return (tool, region) if colon else ("", option)


def _labels_of(name: str, labels: Iterable[str]) -> list[str]:
    """Return the regions of a tool: its own, otherwise those for all tools."""
    pairs = [_tool_and_region(option) for option in labels]
    own = [region for tool, region in pairs if tool == name]
    return own or [region for tool, region in pairs if not tool]


def _other(
    name: str, folder: Path, labels: list[str], dataset: Dataset, ignored: tuple[int, ...]
) -> OtherMasks:
    if not labels:
        same = Regions(dataset.regions.labels, (*dataset.regions.ignored, *ignored))
        return OtherMasks(name, folder, same, dataset.sides)
    parsed = parse_regions(labels).labels
    allowed = (*dataset.regions.names, *_SIDES)
    for region in parsed:
        if region not in allowed:
            raise InputError(f"--predicted-region must be one of {listed(allowed)}, got `{region}`")
    regions = {region: parsed[region] for region in dataset.regions.names if region in parsed}
    sides = {side: parsed[region] for region, side in _SIDES.items() if region in parsed}
    _check_sides(sides, regions)
    return OtherMasks(name, folder, Regions(regions, ignored), sides)


def _check_sides(sides: SideLabels, regions: Mapping[str, tuple[int, ...]]) -> None:
    for side, labels in sides.items():
        lung = regions.get(LUNG, ())
        if not set(labels) <= set(lung):
            raise InputError(
                f"the labels of {side}_lung must be among those of {LUNG}, {listed(lung)}, got "
                f"{listed(labels)}; extend --predicted-region {LUNG}=…"
            )

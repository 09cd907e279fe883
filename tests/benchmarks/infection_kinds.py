"""Detection of infection in synthetic chests by kind and size, and false positives by disease.

    python tests/benchmarks/infection_kinds.py MODEL [--chests 60] [--variety diseases]

MODEL has the regions lung and infection, such as models/segmenter.onnx of the phantom. The chests
depend on their numbers alone, which no training uses. The infection of a chest is ground-glass and
consolidation; its other diseases, such as lobar consolidation, are not labelled infection and may
cause false positives. A lesion is a connected component of the truth, and detected if one voxel of
it is predicted. False positives are predicted components without a voxel of the truth, by each of
the other diseases of their chest. The tables are on stdout.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from statistics import fmean, median

import click
import nibabel
import numpy as np
from lungs import FIRST_CHEST
from measuring import say
from numpy.typing import NDArray
from tqdm import tqdm

import thorax
from thorax.common.errors import InputError
from thorax.evaluation.lesion_sizes import size_index, size_names, wilson_interval
from thorax.evaluation.lesions import Lesion, list_lesions
from thorax.phantom import INFECTION, Chest, Variety, chest
from thorax.phantom.diseases.findings import CHANCES

KINDS = ((0.1, "ground glass"), (0.5, "mixed"), (2.0, "consolidation"))
"""Consolidated share of a lesion below which it is of a kind."""

GROUPS = [field.name for field in fields(Variety)]

NONE = "none"


@dataclass(frozen=True)
class KindLesion:
    """A lesion of the truth with its kind."""

    kind: str
    lesion: Lesion


@dataclass(frozen=True)
class Result:
    """Result of one chest.

    Args:
        lesions: Lesions of the truth.
        tissue_ml: Tissue → its true volume and the part of it that is predicted.
        false_ml: Volume of each false-positive component.
        healthy: True if the chest has no infection.
        diseases: Other diseases of the chest.
    """

    lesions: tuple[KindLesion, ...]
    tissue_ml: dict[str, tuple[float, float]]
    false_ml: tuple[float, ...]
    healthy: bool
    diseases: tuple[str, ...]


def score(case: Chest, predicted: NDArray[np.bool_]) -> Result:
    """Compare the predicted infection of a chest with the truth."""
    truth, voxel_ml = case.mask.voxels == INFECTION, case.mask.grid.voxel_ml
    tissues = {"ground glass": truth & ~case.consolidated, "consolidation": case.consolidated}
    lesions = list_lesions(truth, predicted, voxel_ml=voxel_ml)
    # The lesions of the truth are first in both lists, in the same order.
    shares = [item.overlap for item in list_lesions(truth, case.consolidated, voxel_ml=voxel_ml)]
    return Result(
        tuple(
            KindLesion(kind_of(share), lesion)
            for lesion, share in zip(lesions, shares, strict=False)
            if lesion.mask == "truth"
        ),
        {
            name: (voxel_ml * float(tissue.sum()), voxel_ml * float((tissue & predicted).sum()))
            for name, tissue in tissues.items()
        },
        tuple(item.volume_ml for item in lesions if item.mask == "predicted" and not item.matched),
        not truth.any(),
        tuple(kind for kind in case.kinds if kind in CHANCES),
    )


def kind_of(consolidated: float) -> str:
    """Return the kind of a lesion by its consolidated share."""
    return next(name for limit, name in KINDS if consolidated < limit)


def results_of(
    model: thorax.Predictor, numbers: Iterable[int], variety: Variety
) -> Iterator[Result]:
    """Make, segment and score chests; skip those that the model refuses."""
    labels = model.spec.regions["infection"]
    for number in tqdm(numbers, desc="chests", unit="chest"):
        case = chest(number, seed=0, variety=variety)
        image = nibabel.Nifti1Image(case.scan.voxels, case.scan.grid.affine)
        try:
            mask = model.segment(image, intensity="hu").mask
        except InputError as error:
            tqdm.write(f"{case.name} refused: {error}", file=sys.stderr)
            continue
        yield score(case, np.isin(mask, labels))


def say_lesions(results: list[Result]) -> None:
    """Print the detected lesions and the median overlap by kind and size."""
    say(f"{'lesions':<16}{'size, mL':<12}{'number':>8}{'detected':>10}{'share':>8}"
        f"{'95 % interval':>17}{'median overlap':>16}")  # fmt: skip
    everything = [lesion for result in results for lesion in result.lesions]
    for _, kind in (*KINDS, (0, "all")):
        members = [item.lesion for item in everything if kind in (item.kind, "all")]
        for number, name in enumerate(size_names()):
            _say_class(kind, name, [m for m in members if size_index(m.volume_ml) == number])
        _say_class(kind, "all", members)


def _say_class(kind: str, size: str, lesions: list[Lesion]) -> None:
    detected = sum(lesion.matched for lesion in lesions)
    interval = wilson_interval(detected, len(lesions))
    if interval is None:
        return
    limits = " to ".join(f"{limit:.3f}" for limit in interval)
    overlap = median(lesion.overlap for lesion in lesions)
    say(f"{kind:<16}{size:<12}{len(lesions):>8}{detected:>10}{detected / len(lesions):>8.3f}"
        f"{limits:>17}{overlap:>16.3f}")  # fmt: skip


def say_tissues(results: list[Result]) -> None:
    """Print the share of all ground-glass and of all consolidated volume that is predicted."""
    say(f"\n{'tissue':<16}{'true mL':>10}{'of it predicted':>17}{'voxel sensitivity':>19}")
    for name in results[0].tissue_ml:
        true_ml, predicted_ml = (
            sum(result.tissue_ml[name][part] for result in results) for part in (0, 1)
        )
        share = f"{predicted_ml / true_ml:.3f}" if true_ml else "-"
        say(f"{name:<16}{true_ml:>10.0f}{predicted_ml:>17.0f}{share:>19}")


def say_false_positives(results: list[Result]) -> None:
    """Print the number and the volume of false-positive components per chest."""
    healthy = [result for result in results if result.healthy]
    groups = {
        "all chests": results,
        "no infection": healthy,
        "no infection, no disease": [result for result in healthy if not result.diseases],
        "no other disease": [result for result in results if not result.diseases],
    }
    by_disease = defaultdict(list)
    for result in results:
        for disease in result.diseases:
            by_disease[disease].append(result)
    ordered = sorted(by_disease, key=lambda name: (-_mean_ml(by_disease[name]), name))
    say(f"\n{'false positives':<28}{'chests':>8}{'per chest':>11}{'mean mL':>10}{'median mL':>11}")
    for name, members in (groups | {name: by_disease[name] for name in ordered}).items():
        if members:
            number = fmean(len(result.false_ml) for result in members)
            middle = median(sum(result.false_ml) for result in members)
            say(
                f"{name:<28}{len(members):>8}{number:>11.1f}{_mean_ml(members):>10.1f}{middle:>11.1f}"
            )


def _mean_ml(results: list[Result]) -> float:
    return fmean(sum(result.false_ml) for result in results)


@click.command()
@click.argument("model")
@click.option("--chests", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--first-chest", type=click.IntRange(min=0), default=FIRST_CHEST, show_default=True)
@click.option(
    "--variety",
    type=click.Choice([*GROUPS, NONE]),
    multiple=True,
    default=("diseases",),
    show_default=True,
    help="Group of variations of the chests. Repeatable.",
)
def main(model: str, chests: int, first_chest: int, variety: tuple[str, ...]) -> None:
    """Print three tables."""
    predictor = thorax.load(model)
    if "infection" not in predictor.spec.regions:
        raise click.UsageError(f"{model} has no region infection; name another model")
    varied = Variety(**{name: name in variety for name in GROUPS})
    numbers = range(first_chest, first_chest + chests)
    results = list(results_of(predictor, numbers, varied))
    if not results:
        raise click.ClickException("the model refused all chests")
    say_lesions(results)
    say_tissues(results)
    say_false_positives(results)


if __name__ == "__main__":
    sys.exit(main())

"""The metrics of other packages, for `metrics.py`; runs in an interpreter that has these.

Reads one .npz with `truth`, `predicted` and `spacing_mm` a case, prints one JSON object.

    python tests/benchmarks/other_metrics.py case.npz --packages surface-distance monai medpy
"""

import argparse
import importlib
import json
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Figures = dict[str, float]
TOLERANCE_MM = 1.0
TINY = np.pad(np.ones((2, 2, 2), bool), 1)


def surface_distance(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Figures:
    """As DeepMind's package has it; the mean over both surfaces is put together here."""
    vars(np)["Inf"] = np.inf  # The release on PyPI was written for NumPy 1.
    package = importlib.import_module("surface_distance")
    found = package.compute_surface_distances(truth, predicted, spacing_mm)
    areas = [found["surfel_areas_gt"], found["surfel_areas_pred"]]
    distances = [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
    summed = sum((far * area).sum() for far, area in zip(distances, areas, strict=True))
    return {
        "nsd": package.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
        "hd95_mm": package.compute_robust_hausdorff(found, 95),
        "mean_distance_mm": summed / (areas[0].sum() + areas[1].sum()),
    }


def monai(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Figures:
    """As MONAI has it: the outermost voxels, each counting one."""
    torch, metrics = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    masks = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    common = {"include_background": True, "spacing": list(spacing_mm)}
    found = {
        "nsd": metrics.compute_surface_dice(*masks, class_thresholds=[TOLERANCE_MM], **common),
        "hd95_mm": metrics.compute_hausdorff_distance(*masks, percentile=95, **common),
        "mean_distance_mm": metrics.compute_average_surface_distance(
            *masks, symmetric=True, **common
        ),
    }
    return {name: float(value.squeeze()) for name, value in found.items()}


def monai_areas(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Figures:
    """MONAI's other surface Dice, which has elements with areas."""
    torch, metrics = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    masks = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    found = metrics.compute_surface_dice(
        *masks,
        class_thresholds=[TOLERANCE_MM],
        include_background=True,
        spacing=list(spacing_mm),
        use_subvoxels=True,
    )
    return {"nsd": float(found.squeeze())}


def medpy(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Figures:
    """As MedPy has it; its 95th percentile goes over both surfaces together."""
    metric = importlib.import_module("medpy.metric.binary")
    spacing = tuple(spacing_mm)
    return {
        "hd95_mm": metric.hd95(predicted, truth, spacing),
        "mean_distance_mm": metric.assd(predicted, truth, spacing),
    }


def sitk(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Figures:
    """Lesions, numbered by SimpleITK."""
    package = importlib.import_module("SimpleITK")
    numbered = []
    for mask in (truth, predicted):
        scan = package.GetImageFromArray(mask.astype(np.uint8))
        numbered.append(package.GetArrayFromImage(package.ConnectedComponent(scan, True)))
    true, found = numbered
    return {
        "lesions": int(true.max()),
        "lesions_predicted": int(found.max()),
        "lesions_found": len(set(true[predicted].tolist()) - {0}),
        "lesions_true": len(set(found[truth].tolist()) - {0}),
    }


PACKAGES: dict[str, Callable[..., Figures]] = {
    "surface-distance": surface_distance,
    "monai": monai,
    "monai-areas": monai_areas,
    "medpy": medpy,
    "sitk": sitk,
}


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(package: str, case: dict[str, Any]) -> dict[str, Any]:
    """Figures of one package, with what they took; what it refuses with is told as it is."""
    before, started = peak_mib(), time.perf_counter()
    try:
        found = PACKAGES[package](case["truth"], case["predicted"], case["spacing_mm"].tolist())
    except Exception as error:  # Whatever a package makes of an empty mask belongs in the table.
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "figures": {name: float(value) for name, value in found.items()},
        "seconds": time.perf_counter() - started,
        "mib": peak_mib() - before,
    }


def main() -> None:
    """Read cases, answer for each package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for package in asked.packages:  # Imports are no part of what is measured.
        answer(package, {"truth": TINY, "predicted": TINY, "spacing_mm": np.ones(3)})
    found = {}
    for path in asked.cases:
        with np.load(path) as stored:
            case = dict(stored)
        found[path] = {package: answer(package, case) for package in asked.packages}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()

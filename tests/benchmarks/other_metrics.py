"""Metrics of other packages for `metrics.py`; runs in an interpreter with these packages.

Reads one .npz per case with `truth`, `predicted` and `spacing_mm`; prints one JSON object.

    python tests/benchmarks/other_metrics.py case.npz --packages surface-distance monai medpy
"""

import argparse
import importlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Metrics = dict[str, float]
TOLERANCE_MM = 1.0
TINY = np.pad(np.ones((2, 2, 2), bool), 1)


def surface_distance(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Metrics:
    """Measure with DeepMind's package; the mean over both surfaces is computed here."""
    vars(np)["Inf"] = np.inf  # The release on PyPI needs a name of NumPy 1.
    package = importlib.import_module("surface_distance")
    surfaces = package.compute_surface_distances(truth, predicted, spacing_mm)
    areas = [surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]]
    distances = [surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]]
    summed = sum((distance * area).sum() for distance, area in zip(distances, areas, strict=True))
    return {
        "nsd": package.compute_surface_dice_at_tolerance(surfaces, TOLERANCE_MM),
        "hd95_mm": package.compute_robust_hausdorff(surfaces, 95),
        "mean_distance_mm": summed / (areas[0].sum() + areas[1].sum()),
    }


def monai(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Metrics:
    """Measure with MONAI: surfaces are the outermost voxels, all with weight 1."""
    torch, metrics = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    masks = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    common = {"include_background": True, "spacing": list(spacing_mm)}
    values = {
        "nsd": metrics.compute_surface_dice(*masks, class_thresholds=[TOLERANCE_MM], **common),
        "hd95_mm": metrics.compute_hausdorff_distance(*masks, percentile=95, **common),
        "mean_distance_mm": metrics.compute_average_surface_distance(
            *masks, symmetric=True, **common
        ),
    }
    return {name: float(value.squeeze()) for name, value in values.items()}


def monai_areas(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Metrics:
    """Measure MONAI's surface Dice with surface elements weighted by area."""
    torch, metrics = importlib.import_module("torch"), importlib.import_module("monai.metrics")
    masks = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
    nsd = metrics.compute_surface_dice(
        *masks,
        class_thresholds=[TOLERANCE_MM],
        include_background=True,
        spacing=list(spacing_mm),
        use_subvoxels=True,
    )
    return {"nsd": float(nsd.squeeze())}


def medpy(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Metrics:
    """Measure with MedPy, whose 95th percentile is that of both surfaces together."""
    metric = importlib.import_module("medpy.metric.binary")
    spacing = tuple(spacing_mm)
    return {
        "hd95_mm": metric.hd95(predicted, truth, spacing),
        "mean_distance_mm": metric.assd(predicted, truth, spacing),
    }


def sitk(truth: Any, predicted: Any, spacing_mm: Sequence[float]) -> Metrics:
    """Count lesions with SimpleITK."""
    package = importlib.import_module("SimpleITK")
    numbered = []
    for mask in (truth, predicted):
        scan = package.GetImageFromArray(mask.astype(np.uint8))
        numbered.append(package.GetArrayFromImage(package.ConnectedComponent(scan, True)))
    lesions, components = numbered
    return {
        "lesions": int(lesions.max()),
        "lesions_predicted": int(components.max()),
        "lesions_found": len(set(lesions[predicted].tolist()) - {0}),
        "lesions_true": len(set(components[truth].tolist()) - {0}),
    }


PACKAGES: dict[str, Callable[..., Metrics]] = {
    "surface-distance": surface_distance,
    "monai": monai,
    "monai-areas": monai_areas,
    "medpy": medpy,
    "sitk": sitk,
}


def measured(work: Callable[[], Metrics]) -> dict[str, Any]:
    """Return metrics, elapsed seconds, CPU seconds and the growth of memory in MiB."""
    Path("/proc/self/clear_refs").write_text("5")  # Resets the peak to the current memory.
    before, start, cpu = resident_mib("VmRSS"), time.perf_counter(), time.process_time()
    metrics = work()
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "seconds": time.perf_counter() - start,
        "core_seconds": time.process_time() - cpu,
        "mib": resident_mib("VmHWM") - before,
    }


def resident_mib(field: str) -> float:
    """Return memory of this process in MiB: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def answer(package: str, case: dict[str, Any]) -> dict[str, Any]:
    """Measure one case with one package; errors are returned as text."""
    arguments = case["truth"], case["predicted"], case["spacing_mm"].tolist()
    try:
        return measured(lambda: PACKAGES[package](*arguments))
    except Exception as error:  # Errors for empty masks belong in the table.
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Read the cases and measure them with each package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for package in options.packages:  # Imports are not measured.
        answer(package, {"truth": TINY, "predicted": TINY, "spacing_mm": np.ones(3)})
    results = {}
    for path in options.cases:
        with np.load(path) as stored:
            case = dict(stored)
        results[path] = {package: answer(package, case) for package in options.packages}
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main()

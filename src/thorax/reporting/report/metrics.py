"""Title, unit, digits and definition of every metric, and the limitations of a run."""

from dataclasses import dataclass

from thorax.reporting.report.results import Results


@dataclass(frozen=True)
class Metric:
    """A metric in the tables.

    Args:
        name: Column in `scores.csv`.
        title: Heading of a column.
        unit: Unit; empty for shares and counts.
        digits: Number of decimals.
        definition: Definition of the metric.
    """

    name: str
    title: str
    unit: str
    digits: int
    definition: str

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_ALL = (
    ("dice", "Dice", "", 3, "2 × common voxels of truth and prediction / sum of the voxels of "
     "both; 1 is a perfect match, 0 is no overlap"),
    ("ceiling_dice", "Ceiling", "", 3, "Dice of the truth with itself after placing it on the "
     "network's canvas and restoring it: the best Dice that the canvas allows"),
    ("iou", "IoU", "", 3, "common voxels / voxels of either mask (Jaccard index)"),
    ("sensitivity", "Sensitivity", "", 3, "share of the true voxels that are predicted"),
    ("precision", "Precision", "", 3, "share of the predicted voxels that are true"),
    ("nsd", "NSD", "", 3, "area of both surfaces within the tolerance of the other surface / area "
     "of both surfaces (surface Dice, Nikolov et al. 2021)"),
    ("hd95_mm", "HD95", "mm", 1, "95th percentile, by area, of the distance to the other surface; "
     "the larger of both directions (robust Hausdorff distance)"),
    ("mean_distance_mm", "Mean distance", "mm", 2, "mean distance to the other surface over the "
     "area of both surfaces (average symmetric surface distance)"),
    ("truth_ml", "True volume", "mL", 0, "volume of the true mask"),
    ("predicted_ml", "Predicted volume", "mL", 0, "volume of the predicted mask"),
    ("difference_ml", "Difference", "mL", 0, "predicted volume - true volume"),
    ("difference_percent", "Difference", "%", 1, "the difference as a percentage of the true "
     "volume"),
    ("truth_share", "True share", "", 3, "true volume / true volume of the first region"),
    ("predicted_share", "Predicted share", "", 3, "the same ratio of the predicted volumes"),
    ("lesions", "Lesions", "", 0, "connected components of the truth"),
    ("lesions_found", "Detected lesions", "", 0, "lesions that the prediction overlaps"),
    ("lesions_predicted", "Predicted lesions", "", 0, "connected components of the prediction"),
    ("lesions_true", "True positives", "", 0, "predicted lesions that overlap the truth"),
    ("lesion_sensitivity", "Lesion sensitivity", "", 3, "share of the lesions that are detected"),
    ("lesion_precision", "Lesion precision", "", 3, "share of the predicted lesions that are true "
     "positives"),
    ("lesion_f1", "Lesion F1", "", 3, "harmonic mean of lesion sensitivity and lesion precision"),
    ("brier", "Brier", "", 4, "mean squared difference between probability and truth, over voxels "
     "inside the truth and voxels with a probability above 0; 0 is best"),
    ("certainty", "Certainty", "", 3, "agreement of the probabilities with the mask they give, "
     "computed like a Dice, without the truth"),
)  # fmt: skip

METRICS = {row[0]: Metric(*row) for row in _ALL}
"""Metrics by their column in `scores.csv`, in the order of the tables."""

EXPECTED_ERROR = (
    "mean distance between probability and observed share over the bins of the curve, weighted by "
    "their voxels (expected calibration error)"
)


def tolerance_mm(results: Results, region: str) -> float:
    """Return the tolerance of the NSD of a region."""
    return results.params.evaluate.tolerance_mm.get(region, 1.0)


def limitations(results: Results) -> list[str]:
    """List what the metrics of a run do not show."""
    general = [
        "The truth is the masks of the dataset. The agreement between two readers is not known.",
        "Intervals show how much a mean may change with other patients from the same population, "
        "not with other scanners, hospitals or diseases.",
        "This is research software, not a medical device.",
    ]
    if not results.cases:
        return general
    specific = []
    split = results.params.split
    if split.fold != "none" and not split.test:
        side = "training" if split.method == "covid19_swapped" else "test"
        specific.append(
            f"The {side} cases are one fold of {split.folds}; another fold gives other results."
        )
    if len(results.sites) < 2:
        specific.append("All test cases are from one site, as far as the dataset states sites.")
    return [*specific, *general]

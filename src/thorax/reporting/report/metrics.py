"""What each figure means, in one line each; what it says and what it does not."""

from dataclasses import dataclass

from thorax.reporting.report.results import Results


@dataclass(frozen=True)
class Metric:
    """A figure of the tables.

    Args:
        name: Its column in `scores.csv`.
        title: As it stands above a column.
        unit: Empty for shares and counts.
        digits: After the point.
        meaning: Its definition.
    """

    name: str
    title: str
    unit: str
    digits: int
    meaning: str

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_ALL = (
    ("dice", "Dice", "", 3, "twice the voxels that truth and prediction share, over the voxels of "
     "both; 1 is a perfect match, 0 none"),
    ("ceiling_dice", "Ceiling", "", 3, "Dice of the truth with itself once it was put on the "
     "network's canvas and taken off again: what a perfect network would reach"),
    ("iou", "IoU", "", 3, "voxels that both share, over the voxels of either (Jaccard)"),
    ("sensitivity", "Sensitivity", "", 3, "share of the truth that was found"),
    ("precision", "Precision", "", 3, "share of what was found that is true"),
    ("nsd", "NSD", "", 3, "area of both surfaces no farther than the tolerance from the other "
     "one, over the area of both (surface Dice, Nikolov et al. 2021)"),
    ("hd95_mm", "HD95", "mm", 1, "the distance to the other surface that 95 % of a surface's area "
     "does not exceed; the larger of both directions (robust Hausdorff distance)"),
    ("mean_distance_mm", "Mean distance", "mm", 2, "distance to the other surface, averaged over "
     "the area of both (average symmetric surface distance)"),
    ("truth_ml", "Truth", "mL", 0, "volume of the original mask"),
    ("predicted_ml", "Found", "mL", 0, "volume of the predicted mask"),
    ("difference_ml", "Difference", "mL", 0, "volume found minus true volume"),
    ("difference_percent", "Difference", "%", 1, "the same, over the true volume"),
    ("truth_share", "True share", "", 3, "true volume over that of the first region"),
    ("predicted_share", "Found share", "", 3, "the same of what was found"),
    ("lesions", "Lesions", "", 0, "connected pieces of the truth"),
    ("lesions_found", "Of them found", "", 0, "those of them that the prediction overlaps"),
    ("lesions_predicted", "Pieces predicted", "", 0, "connected pieces of the prediction"),
    ("lesions_true", "Of them true", "", 0, "those of them that overlap the truth"),
    ("lesion_sensitivity", "Lesion sensitivity", "", 3, "share of the lesions that were found"),
    ("lesion_precision", "Lesion precision", "", 3, "share of the predicted pieces that are true"),
    ("lesion_f1", "Lesion F1", "", 3, "harmonic mean of lesion sensitivity and precision"),
    ("brier", "Brier", "", 4, "mean squared difference of probability and truth, over voxels of "
     "the truth and voxels given any probability; 0 is best"),
    ("certainty", "Certainty", "", 3, "how much the probabilities look like those of a mask, "
     "worked out like a Dice of both, without the truth"),
)  # fmt: skip

METRICS = {one[0]: Metric(*one) for one in _ALL}
"""By the column in `scores.csv`, in the order in which they are told of."""

EXPECTED_ERROR = (
    "mean distance of probability and observed share over the bins of the curve, weighted by "
    "their voxels (expected calibration error)"
)


def tolerance_mm(results: Results, region: str) -> float:
    """Tolerance of the NSD of a region."""
    return results.params.evaluate.tolerance_mm.get(region, 1.0)


def limits(results: Results) -> list[str]:
    """What the figures of a run do not say."""
    found = [
        "The truth is the masks of the dataset; how far two readers would agree is not known here.",
        "Intervals tell how much a mean would change with other patients drawn like these. They "
        "tell nothing of other scanners, hospitals or diseases.",
        "This is research software and no medical device.",
    ]
    split = results.params.split
    if results.cases and split.fold != "none" and not split.test and split.method != "covid19":
        found.insert(
            0,
            f"These are the test cases of one fold of {split.folds}; another fold would give "
            "other figures.",
        )
    if results.cases and len(results.sites) < 2:
        found.insert(1, "All test cases come from one site, as far as the dataset tells.")
    return found

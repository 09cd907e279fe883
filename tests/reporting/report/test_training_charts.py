"""Charts of the training: only points that were measured, and training beside validation cases."""

from dataclasses import replace
from unittest.mock import patch

from thorax.reporting.report.charts import Chart
from thorax.reporting.report.results import MetricValues, Results
from thorax.reporting.report.training_charts import training_charts


def chart_of(results: Results, *history: MetricValues) -> Chart:
    """Return the chart of the Dice, the second after the loss."""
    return training_charts(replace(results, history=history))[1]


def test_only_epochs_with_validation_are_points(few: Results) -> None:
    """Epoch 0 is the validation of the initial weights; the cells of epoch 1 are empty."""
    history: list[MetricValues] = [
        {"epoch": 0.0, "dice": 0.25, "dice_lung": 0.25},
        {"epoch": 1.0, "loss": 0.5},
        {"epoch": 2.0, "loss": 0.4, "dice": 0.75, "dice_lung": 0.75},
    ]
    chart = chart_of(few, *history)
    assert (chart.title, chart.text) == (
        "Validation Dice on the canvas by epoch",
        "Last epoch: lung 0.75.",
    )
    assert chart.svg.count("<use ") - _ticks(few, *history) == 2


def _ticks(results: Results, *history: MetricValues) -> int:
    """Number of tick marks: those of a chart of the same values without points of their own."""
    with patch("thorax.reporting.report.training_charts.MARKERS", [""]):
        return chart_of(results, *history).svg.count("<use ")


def test_training_cases_are_beside_validation_cases(few: Results) -> None:
    row = {
        "epoch": 1.0,
        "loss": 0.5,
        "dice": 0.8,
        "dice_lung": 0.9,
        "dice_infection": 0.7,
        "train_dice": 0.9,
        "train_dice_lung": 0.95,
        "train_dice_infection": 0.85,
    }
    chart = chart_of(few, row, row | {"epoch": 2.0})
    assert chart.title == "Dice of validation and training cases on the canvas by epoch"
    assert chart.text == (
        "Last epoch: lung 0.9, infection 0.7, lung (training) 0.95, infection (training) 0.85."
    )
    for label in ("lung", "infection", "validation", "training"):
        assert f">{label}</text>" in chart.svg
    assert chart.svg.count("stroke-dasharray") == 3, "two curves and an entry of the legend"


def test_a_region_that_is_defined_in_training_cases_only_is_drawn(few: Results) -> None:
    chart = chart_of(
        few, {"epoch": 1.0, "loss": 0.5, "dice_lung": 0.9, "train_dice_infection": 0.8,
              "dice_infection": float("nan")},
    )  # fmt: skip
    assert chart.text == "Last epoch: lung 0.9, infection (training) 0.8."

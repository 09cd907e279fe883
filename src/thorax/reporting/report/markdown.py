"""The report as Markdown, for the supplement of a paper."""

import re
from collections.abc import Iterator

from thorax.common.text import counted, duration, shown
from thorax.reporting.report.estimates import FEW
from thorax.reporting.report.lesion_tables import (
    empty_truth_sentences,
    empty_truth_table,
    size_table,
)
from thorax.reporting.report.metrics import METRICS, limitations
from thorax.reporting.report.provenance import protocol_settings
from thorax.reporting.report.results import Results
from thorax.reporting.report.sentences import headline_sentences
from thorax.reporting.report.tables import (
    Cell,
    ReportTable,
    calibration_table,
    case_table,
    headline_table,
    lesion_table,
    side_table,
    site_table,
)


def render_markdown(results: Results) -> str:
    """Render the report as Markdown: tables and a paragraph on methods, no pictures."""
    definitions = metric_definitions(results).items()
    blocks = [
        f"# {escape(results.params.dataset)}",
        *map(escape, headline_sentences(results)),
        *map(markdown_table, report_tables(results)),
        *map(escape, empty_truth_sentences(results)),
        "## Methods",
        escape(methods_paragraph(results)),
        "\n".join(f"- {escape(name)}: {escape(text)}." for name, text in definitions),
        "## Limitations",
        "\n".join(f"- {escape(limitation)}" for limitation in limitations(results)),
    ]
    return "\n\n".join(blocks) + "\n"


def report_tables(results: Results) -> Iterator[ReportTable]:
    """Return the tables that have data."""
    if not results.cases:
        return
    yield headline_table(results)
    if lesions := lesion_table(results):
        yield lesions
    yield from filter(None, (size_table(results), empty_truth_table(results)))
    if results.sides:
        yield side_table(results)
    if results.sites:
        yield site_table(results)
    yield case_table(results)
    if results.calibration:
        yield calibration_table(results)


def metric_definitions(results: Results) -> dict[str, str]:
    """Return the definition of each metric, and the settings of the evaluation."""
    definitions = {
        metric.heading: metric.definition
        for metric in METRICS.values()
        if metric.name in results.columns
    }
    return definitions | protocol_settings(results)


def methods_paragraph(results: Results) -> str:
    """Describe model, training and test in one paragraph."""
    return " ".join([*_model(results), *_training(results), *_test(results)])


def _model(results: Results) -> Iterator[str]:
    model, provenance = results.model, results.provenance
    if model is None:
        yield "There is no model file, so the model is not described."
        return
    low, high = (shown(hu, 0) for hu in model.window_hu)
    loss, seed = provenance.get("loss", "unknown"), provenance.get("seed", "unknown")
    name = provenance.get("network", {}).get("name", "network")
    split = provenance.get("split", {})
    train, validation = (len(split.get(side, ())) for side in ("train", "validation"))
    yield (
        f"The input of the {name} is a stack of {2 * model.context + 1} axial slices of "
        f"{model.canvas}×{model.canvas} pixels, scaled so that {low} to {high} HU are 0 to 1. "
        f"It was trained with the loss {loss} and the seed {seed} on {counted(train, 'case')}, "
        f"with {counted(validation, 'validation case') if validation else 'no validation cases'}."
    )


def _training(results: Results) -> Iterator[str]:
    training = results.training
    if "seconds" in training and "epochs" in training:
        machine = training.get("machine", {})
        yield (
            f"Training took {counted(int(training['epochs']), 'epoch')} and "
            f"{duration(float(training['seconds']))} on {machine.get('processor', 'a machine')} "
            f"with {counted(int(machine.get('cores', 1)), 'core')}."
        )


def _test(results: Results) -> Iterator[str]:
    threshold = results.params.predict.threshold
    yield (
        "Probabilities were restored to the grid of the scan and thresholded at "
        f"{threshold:g}. {counted(len(results.cases), 'case')} not used in training "
        f"{'was' if len(results.cases) == 1 else 'were'} tested."
    )
    if 0 < len(results.cases) < FEW:
        yield "Results of so few cases do not generalise."


def markdown_table(table: ReportTable) -> str:
    """Write a table in GitHub's Markdown, with its notes below."""
    marks = [
        "---" if number < table.text_columns else "---:" for number in range(len(table.columns))
    ]
    rows = [map(escape, table.columns), marks]
    rows += [[_cell(cell) for cell in row] for group in table.groups for row in group]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"**{escape(table.caption)}**", lines, *map(escape, table.notes)])


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"{text} ({escape(cell.detail)})" if cell.detail else text


def escape(text: str) -> str:
    r"""Escape text so that Markdown shows it unchanged.

    Example:
        >>> print(escape("a|b <script> lung_left *x*"))
        a\|b &lt;script&gt; lung\_left \*x\*
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)

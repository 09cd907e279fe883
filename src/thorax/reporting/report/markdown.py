r"""The same figures as Markdown, for the supplement of a paper."""

import re
from collections.abc import Iterator

from thorax.common.text import counted, duration, shown
from thorax.reporting.report.estimates import FEW
from thorax.reporting.report.metrics import METRICS, limits
from thorax.reporting.report.provenance import rules
from thorax.reporting.report.results import Results
from thorax.reporting.report.sentences import headline
from thorax.reporting.report.tables import (
    Cell,
    Table,
    calibration_table,
    case_table,
    headline_table,
    lesion_table,
    side_table,
    site_table,
)


def summarise(results: Results) -> str:
    """The report as Markdown: tables and a paragraph on methods, no pictures."""
    blocks = [
        f"# {escape(results.params.dataset)}",
        *map(escape, headline(results)),
        *map(markdown, tables(results)),
        "## Methods",
        escape(methods(results)),
        "\n".join(f"- {escape(name)}: {escape(text)}." for name, text in meanings(results).items()),
        "## Limits",
        "\n".join(f"- {escape(limit)}" for limit in limits(results)),
    ]
    return "\n\n".join(blocks) + "\n"


def tables(results: Results) -> Iterator[Table]:
    """The tables that there are figures for."""
    if not results.cases:
        return
    yield headline_table(results)
    if lesions := lesion_table(results):
        yield lesions
    if results.sides:
        yield side_table(results)
    if results.sites:
        yield site_table(results)
    yield case_table(results)
    if results.calibration:
        yield calibration_table(results)


def meanings(results: Results) -> dict[str, str]:
    """What each figure means, and how it was worked out."""
    figures = {
        figure.heading: figure.meaning
        for figure in METRICS.values()
        if figure.name in results.columns
    }
    return figures | rules(results)


def methods(results: Results) -> str:
    """How the figures came about, in one paragraph."""
    return " ".join([*_model(results), *_training(results), *_test(results)])


def _model(results: Results) -> Iterator[str]:
    model, made = results.model, results.provenance
    if model is None:
        yield "Nothing is known of the model."
        return
    low, high = (shown(hu, 0) for hu in model.window_hu)
    loss, seed = made.get("loss", "unknown"), made.get("seed", "unknown")
    name = made.get("network", {}).get("name", "network")
    yield (
        f"A {name} saw stacks of {2 * model.context + 1} axial planes of {model.canvas}×"
        f"{model.canvas} pixels, with {low} to {high} HU as 0 and 1, and was trained with the "
        f"loss {loss} from the seed {seed}."
    )
    split = made.get("split", {})
    learnt, watched = (len(split.get(side, ())) for side in ("train", "validation"))
    yield f"It learnt from {counted(learnt, 'case')}; {watched or 'none'} watched the training."


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
        f"Probabilities were restored to the grid of the scan and cut at {threshold:g}. "
        f"{counted(len(results.cases), 'case')} that the training never saw "
        f"{'was' if len(results.cases) == 1 else 'were'} tested on."
    )
    if 0 < len(results.cases) < FEW:
        yield "So few cases tell little of others."


def markdown(table: Table) -> str:
    """A table in the form of GitHub's Markdown, its notes below it."""
    marks = ["---" if number < table.words else "---:" for number in range(len(table.columns))]
    rows = [map(escape, table.columns), marks]
    rows += [[_cell(cell) for cell in row] for group in table.groups for row in group]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"**{escape(table.caption)}**", lines, *map(escape, table.notes)])


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"{text} ({escape(cell.aside)})" if cell.aside else text


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is.

    Example:
        >>> print(escape("a|b <script> lung_left *x*"))
        a\|b &lt;script&gt; lung\_left \*x\*
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)

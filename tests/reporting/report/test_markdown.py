"""The report as Markdown."""

from dataclasses import replace

from thorax.datasets.dataset import DatasetSpec
from thorax.reporting.report.markdown import escape, markdown_table, render_markdown
from thorax.reporting.report.results import Results
from thorax.reporting.report.tables import Cell, ReportTable

from .runs import row


def test_a_table_in_markdown() -> None:
    rows = ((Cell("lung"), Cell("0.9", "0.8 to 1.0")), (Cell("a|b"), Cell("–")))
    table = ReportTable("Means", ("Region", "Dice"), (rows,), notes=("–: none.",))
    assert markdown_table(table) == (
        "**Means**\n"
        "\n"
        "| Region | Dice |\n"
        "| --- | ---: |\n"
        "| lung | 0.9 (0.8 to 1.0) |\n"
        "| a\\|b | – |\n"
        "\n"
        "–: none."
    )


def test_the_report_has_metrics_and_methods(few: Results) -> None:
    text = render_markdown(few)
    assert text.startswith(
        "# phantom\n\nMean Dice on 3 test cases of phantom: lung 0.800 (95 % interval"
    )
    assert "| lung | 3 | 0.800 (0.710 to 0.880) | 0.933 | 13 |" in text
    assert "a stack of 5 axial slices of 128×128 pixels, scaled so that −1,000 to 400 HU" in text
    assert "Training took 3 epochs and 12 min 34 s on Some Processor with 2 cores." in text
    assert "on 2 cases, with 1 validation case." in text
    assert "<" not in text


def test_a_final_model_has_no_tables(few: Results) -> None:
    text = render_markdown(replace(few, rows=(), summary={}))
    assert "|" not in text
    assert "was not tested" in text


def test_markup_in_names_stays_text(few: Results) -> None:
    name = "<script>|`*x*`[a](http://b)"
    spec = DatasetSpec(regions={"lung": [1]})
    text = render_markdown(replace(few, rows=(row(name, dice=0.5),), dataset=spec))
    assert "<script>" not in text
    assert r"&lt;script&gt;\|\`\*x\*\`\[a\](http://b)" in text


def test_markdown_syntax_is_escaped() -> None:
    assert escape("# a_b & c") == r"\# a\_b &amp; c"

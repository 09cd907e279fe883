"""The HTML report: one file that opens from disk, without a network connection."""

from collections.abc import Collection
from dataclasses import dataclass

from markupsafe import Markup

from thorax.reporting.html import asset, data_uri, render_page
from thorax.reporting.report.estimates import worst_first
from thorax.reporting.report.metrics import limitations
from thorax.reporting.report.provenance import provenance_tables
from thorax.reporting.report.results import Results
from thorax.reporting.report.sections import report_sections
from thorax.reporting.report.sentences import headline_sentences
from thorax.reporting.report.tables import (
    ReportTable,
    anchors,
    main_metrics_table,
    more_metrics_table,
)
from thorax.reporting.viewer.page import Fragment

_PACKAGE = "thorax.reporting.report"

MOST_VIEWED = 20
"""Maximum number of cases in the viewer: each adds about 2 MB to the page."""


@dataclass(frozen=True)
class CaseView:
    """Content of the section of a case.

    Args:
        key: Name of the section in links.
        name: Name of the case.
        site: Site of the case; may be empty.
        tables: Tables of metrics.
        picture: Overlay as a data URI; empty if there is none.
        viewed: True if the viewer contains the case.
    """

    key: str
    name: str
    site: str
    tables: tuple[ReportTable, ...]
    picture: str
    viewed: bool


def render_report(
    results: Results, viewer: Fragment | None = None, *, viewed: Collection[str] = ()
) -> str:
    """Render the report as HTML; equal results give equal text.

    Args:
        results: Results of the run.
        viewer: Viewer to include in the page.
        viewed: Names of the cases in the viewer.
    """
    return render_page(
        _PACKAGE,
        "report.html",
        scripts=[viewer.script, asset(_PACKAGE, "templates/move_viewer.js")] if viewer else [],
        results=results,
        headline=headline_sentences(results),
        sections=report_sections(results),
        cases=case_views(results, viewed if viewer else ()),
        provenance=provenance_tables(results),
        limitations=limitations(results),
        viewer=Markup(viewer.html) if viewer else "",
        viewer_style=Markup(viewer.style) if viewer else "",
    )


def case_views(results: Results, viewed: Collection[str]) -> list[CaseView]:
    """Return the sections of the cases, lowest Dice first."""
    keys = anchors(results)
    sites = {row.case: row.site for row in results.rows}
    return [
        CaseView(
            keys[case],
            case,
            sites[case],
            (main_metrics_table(results, case), more_metrics_table(results, case)),
            data_uri(results.overlays.get(case, b"")),
            case in viewed,
        )
        for case in worst_first(results)
    ]

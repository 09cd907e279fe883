"""The page: one file that opens from disk, without a network connection."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from thorax.reporting.html import content_policy, data_uri, environment
from thorax.reporting.report.estimates import worst_first
from thorax.reporting.report.metrics import limits
from thorax.reporting.report.provenance import making_tables
from thorax.reporting.report.results import Results
from thorax.reporting.report.sections import figure_parts
from thorax.reporting.report.sentences import headline
from thorax.reporting.report.tables import Table, anchors, figures_table, more_figures_table
from thorax.reporting.viewer.page import Fragment

MOST_VIEWED = 20
"""Cases in the viewer, at most: each takes some 2 MB of the page."""


@dataclass(frozen=True)
class CaseView:
    """What the page shows of a case.

    Args:
        key: Names its section in links.
        name: Of the case.
        site: Where it comes from; may be empty.
        figures: Tables of them.
        picture: Its overlay as a data URI; empty where there is none.
        viewed: Whether the viewer holds it.
    """

    key: str
    name: str
    site: str
    figures: tuple[Table, ...]
    picture: str
    viewed: bool


def render(
    results: Results, viewer: Fragment | None = None, *, viewed: Collection[str] = ()
) -> str:
    """The page as HTML; equal results give equal text.

    Args:
        results: What is told of.
        viewer: Where it is given, cases can be looked at in the page.
        viewed: Names of the cases that it holds.
    """
    scripts = [viewer.script, _mover()] if viewer else []
    parts = figure_parts(results)
    return (
        environment("thorax.reporting.report")
        .get_template("page.html")
        .render(
            results=results,
            headline=headline(results),
            parts=parts,
            cases=case_views(results, viewed if viewer else ()),
            making=making_tables(results),
            limits=limits(results),
            policy=content_policy(scripts),
            viewer=Markup(viewer.html) if viewer else "",
            viewer_style=Markup(viewer.style) if viewer else "",
            scripts=[Markup(script) for script in scripts],
        )
    )


def case_views(results: Results, viewed: Collection[str]) -> list[CaseView]:
    """The cases in the order in which to look at them."""
    place = anchors(results)
    sites = {row.case: row.site for row in results.rows}
    return [
        CaseView(
            place[case],
            case,
            sites[case],
            (figures_table(results, case), more_figures_table(results, case)),
            data_uri(results.overlays.get(case, b"")),
            case in viewed,
        )
        for case in worst_first(results)
    ]


def _mover() -> str:
    """The script that puts the viewer into the section of the case that is to be looked at."""
    return (
        files("thorax.reporting.report").joinpath("templates/mover.js").read_text(encoding="utf-8")
    )

"""The page: one file that opens from disk, without a network connection."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thorax.report.estimates import worst_first
from thorax.report.making import making_tables
from thorax.report.parts import figure_parts
from thorax.report.protocol import limits
from thorax.report.results import Results
from thorax.report.tables import Table, anchors, figures_table, more_figures_table
from thorax.report.wording import headline
from thorax.viewer.pages import Fragment, content_policy

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
        environment()
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


def environment() -> Environment:
    """Templates in which every value is escaped, and a misspelt one is an error."""
    return Environment(
        loader=PackageLoader("thorax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
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


def data_uri(png: bytes) -> str:
    """A picture as part of the page; empty for none.

    Example:
        >>> data_uri(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""


def _mover() -> str:
    """The script that puts the viewer into the section of the case that is to be looked at."""
    return files("thorax.report").joinpath("templates/mover.js").read_text(encoding="utf-8")

"""The page: one file that opens from disk, without a network connection."""

import base64
import hashlib
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thorax.report.estimates import worst_first
from thorax.report.making import limit_words, making_tables
from thorax.report.parts import figure_parts
from thorax.report.results import Results
from thorax.report.tables import Table, anchors, figures_table, more_figures_table
from thorax.report.wording import headline


@dataclass(frozen=True)
class Fragment:
    """A viewer for the page.

    Args:
        html: Case → the place of its viewer.
        style: CSS.
        script: JavaScript.
    """

    html: dict[str, str]
    style: str
    script: str


@dataclass(frozen=True)
class CaseView:
    """What the page shows of a case.

    Args:
        key: Names its section in links.
        name: Of the case.
        site: Where it comes from; may be empty.
        figures: Tables of them.
        picture: Its overlay as a data URI; empty where there is none.
        viewer: Place of its viewer; empty where there is none.
    """

    key: str
    name: str
    site: str
    figures: tuple[Table, ...]
    picture: str
    viewer: Markup


def render(results: Results, viewer: Fragment | None = None) -> str:
    """The page as HTML; equal results give equal text.

    Args:
        results: What is told of.
        viewer: Where it is given, each case can be looked at in the page.
    """
    parts = figure_parts(results)
    return (
        environment()
        .get_template("page.html")
        .render(
            results=results,
            headline=headline(results),
            parts=parts,
            cases=case_views(results, viewer),
            making=making_tables(results),
            limits=limit_words(results),
            policy=policy(viewer),
            viewer_style=Markup(viewer.style) if viewer else "",
            viewer_script=Markup(viewer.script) if viewer else "",
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


def case_views(results: Results, viewer: Fragment | None) -> list[CaseView]:
    """The cases in the order in which to look at them."""
    place = anchors(results)
    sites = {row.case: row.site for row in results.rows}
    places = viewer.html if viewer else {}
    return [
        CaseView(
            place[case],
            case,
            sites[case],
            (figures_table(results, case), more_figures_table(results, case)),
            data_uri(results.overlays.get(case, b"")),
            Markup(places.get(case, "")),
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


def policy(viewer: Fragment | None) -> str:
    """What the browser lets the page do: nothing is loaded, and no script but the viewer's runs."""
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data: blob:"]
    if viewer:
        digest = base64.b64encode(hashlib.sha256(viewer.script.encode()).digest()).decode()
        rules += [f"script-src 'sha256-{digest}'", "connect-src data: blob:", "worker-src blob:"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])

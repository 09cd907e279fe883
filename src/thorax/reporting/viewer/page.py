"""The viewer as part of a page, and as a separate page without network access."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from thorax.common.errors import InputError
from thorax.reporting.html import asset, render_fragment, render_page
from thorax.reporting.viewer.cases import ViewerCase
from thorax.visualization.drawing import COLOURS

_PACKAGE = "thorax.reporting.viewer"

VIEW_BUTTONS = (
    ("axial", "Axial"),
    ("coronal", "Coronal"),
    ("sagittal", "Sagittal"),
    ("all", "All"),
    ("3d", "3D"),
)


@dataclass(frozen=True)
class Fragment:
    """The viewer as part of a page: one per page, with any number of cases.

    Args:
        html: Element of the viewer; it contains the cases as data.
        style: Content of a ``<style>`` element.
        script: Content of a ``<script>`` element without attributes, anywhere on the page.
    """

    html: str
    style: str
    script: str


@dataclass(frozen=True)
class _CaseData:
    name: str
    data: Markup


def viewer_fragment(cases: Sequence[ViewerCase]) -> Fragment:
    """Build one viewer of several cases; a case is decoded only when it is opened.

    The first case is opened when the viewer scrolls into view. Clicking any element of the page
    with the attribute ``data-viewer-case`` opens the case of that name. The element of the viewer
    has the id ``viewer``.

    Args:
        cases: Cases of `make_viewer_case`, in the order of the list of cases.

    Raises:
        InputError: There are no cases, or two have the same name.
    """
    names = [case.name for case in cases]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"a viewer must have one case or more, with different names, got {names}; rename cases"
        )
    return Fragment(
        render_fragment(
            _PACKAGE,
            "fragment.html",
            cases=[_CaseData(case.name, _data(case)) for case in cases],
            views=VIEW_BUTTONS,
        ),
        asset(_PACKAGE, "templates/viewer.css"),
        _script(),
    )


def viewer_page(cases: Sequence[ViewerCase], title: str) -> str:
    """Render an HTML document of cases that opens from disk or from a server.

    Args:
        cases: See `viewer_fragment`.
        title: Title of the page.

    Raises:
        InputError: See `viewer_fragment`.
    """
    viewer = viewer_fragment(cases)
    return render_page(
        _PACKAGE,
        "page.html",
        scripts=[viewer.script],
        title=title,
        viewer=Markup(viewer.html),
        viewer_style=Markup(viewer.style),
    )


def _data(case: ViewerCase) -> Markup:
    """Encode a case as JSON, which the browser parses when the case is opened."""
    regions = case.regions
    content = {
        "name": case.name,
        "scan": _base64(case.scan),
        "masks": [
            {
                "name": name,
                "labels": _base64(mask.labels),
                "surfaces": {
                    regions.names.index(region): _base64(mesh)
                    for region, mesh in mask.surfaces.items()
                },
            }
            for name, mask in case.masks.items()
        ],
        "regions": [
            {"name": name, "colour": colour, "labels": labels, "holds": _is_outer(case, name)}
            for (name, labels), colour in zip(regions.labels.items(), COLOURS, strict=False)
            if case.masks
        ],
        "windows": [
            {"name": window.name, "low": window.low, "high": window.high} for window in case.windows
        ],
        "start": case.start,
        "notes": case.notes,
    }
    return _json(content)


def _is_outer(case: ViewerCase, region: str) -> bool:
    """Return whether a region contains another one, and is therefore transparent in 3D."""
    own = set(case.regions.labels[region])
    return any(set(labels) < own for labels in case.regions.labels.values())


def _json(content: object) -> Markup:
    """Write JSON that no HTML parser takes for markup."""
    text = json.dumps(content, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _script() -> str:
    """Join licences, NiiVue and the viewer to one script."""
    licences, niivue, viewer = (
        asset(_PACKAGE, name)
        for name in ("niivue/LICENSES.txt", "niivue/niivue.js", "templates/viewer.js")
    )
    return f"/*\n{licences}*/\n{niivue}\n{viewer}"

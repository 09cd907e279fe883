"""The viewer as a piece of a page, and as a page of its own that asks nothing of a network."""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from thorax.common.errors import InputError
from thorax.reporting.html import content_policy
from thorax.reporting.viewer.cases import ViewerCase
from thorax.visualization.drawing import COLOURS

VIEWS = (
    ("axial", "Axial"),
    ("coronal", "Coronal"),
    ("sagittal", "Sagittal"),
    ("all", "All"),
    ("3d", "3D"),
)

HELP = (
    "Drag or touch the picture to move the planes or to turn it in 3D; scroll, or use the arrow "
    "keys, to go from plane to plane. The patient’s right is on the left. For looking, not for "
    "measuring: voxels are made larger, and grey levels are fewer."
)

STYLE = """
:root { color-scheme: light dark; }
body {
  margin: 0 auto; padding: 20px clamp(12px, 3vw, 36px) 32px; max-width: 1180px;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  color: #1b2430; background: #fff;
}
h1 { font-size: 20px; font-weight: 650; margin: 0 0 14px; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { color: #e7ebf0; background: #11161c; } }
"""


@dataclass(frozen=True)
class Fragment:
    """The viewer as a piece of somebody's page: once on a page, whatever the number of cases.

    Args:
        html: Goes where the viewer is to stand. It holds the cases, too, as data.
        style: Goes into a ``<style>``.
        script: Goes into a ``<script>`` without attributes, anywhere on the page.
    """

    html: str
    style: str
    script: str


def fragment(exhibits: Sequence[ViewerCase]) -> Fragment:
    """Put cases into one viewer, which decodes each of them only when it is opened.

    The first is opened when the viewer comes into sight. Any element of the page with the
    attribute ``data-viewer-case`` opens the case of that name when it is clicked. The element of
    the viewer has the id ``viewer``.

    Args:
        exhibits: What `make_viewer_case` gives, in the order in which readers choose.

    Raises:
        InputError: There are none, or two of one name.
    """
    names = [exhibit.name for exhibit in exhibits]
    if not names or len(set(names)) < len(names):
        raise InputError(f"a viewer must show one case or more, each of its own name, got {names}")
    parts = [_controls(names), *map(_source, exhibits)]
    body = "\n".join(parts)
    return Fragment(
        f'<section class="viewer" id="viewer" aria-label="Viewer">\n{body}\n</section>',
        _asset("viewer.css"),
        _script(),
    )


def page(exhibits: Sequence[ViewerCase], title: str) -> str:
    """Write one HTML document that shows cases, from a disk as well as from a server.

    Args:
        exhibits: As for `fragment`.
        title: Of the page.

    Raises:
        InputError: As for `fragment`.
    """
    viewer = fragment(exhibits)
    name = html.escape(title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{content_policy([viewer.script])}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{name}</title>
<link rel="icon" href="data:,">
<style>{STYLE}{viewer.style}</style>
</head>
<body>
<h1>{name}</h1>
{viewer.html}
<script>{viewer.script}</script>
</body>
</html>
"""


def _controls(names: Sequence[str]) -> str:
    """All that does not depend on the case that is open; the rest is filled in by the script."""
    views = "".join(
        f'<button type="button" data-view="{view}" aria-pressed="false">{label}</button>'
        for view, label in VIEWS
    )
    return f"""<noscript>This viewer needs JavaScript; it is part of this page.</noscript>
<div class="viewer-bar">{_choice(names)}
<div class="viewer-group" role="group" aria-label="View">{views}</div>
<div class="viewer-group viewer-windows" role="group" aria-label="Window"></div>
</div>
<div class="viewer-stage">
<canvas class="viewer-gl" tabindex="0" aria-label="The scan; arrow keys move the plane"></canvas>
<canvas class="viewer-lines" aria-hidden="true"></canvas>
<p class="viewer-status" role="status" hidden></p>
</div>
<label class="viewer-slide"><span class="viewer-axis">Plane</span>
<input class="viewer-range" type="range" min="1" max="1" step="1" value="1">
<output class="viewer-where"></output></label>
<div class="viewer-legend" role="group" aria-label="Outlines" hidden></div>
<ul class="viewer-notes viewer-told"></ul>
<p class="viewer-notes">{HELP}</p>"""


def _choice(names: Sequence[str]) -> str:
    if len(names) == 1:
        return ""
    options = "".join(
        f'<option value="{number}">{html.escape(name)}</option>'
        for number, name in enumerate(names)
    )
    return (
        f'\n<label class="viewer-case">Case '
        f'<select class="viewer-choice">{options}</select></label>'
    )


def _source(exhibit: ViewerCase) -> str:
    """A case as data, which the browser does not look into before the case is opened."""
    regions = exhibit.regions
    content = {
        "name": exhibit.name,
        "scan": _text(exhibit.scan),
        "masks": [
            {
                "name": name,
                "labels": _text(mask.labels),
                "surfaces": {
                    regions.names.index(region): _text(mesh)
                    for region, mesh in mask.surfaces.items()
                },
            }
            for name, mask in exhibit.masks.items()
        ],
        "regions": [
            {"name": name, "colour": colour, "labels": labels, "holds": _holds(exhibit, name)}
            for (name, labels), colour in zip(regions.labels.items(), COLOURS, strict=False)
            if exhibit.masks
        ],
        "windows": [
            {"name": window.name, "low": window.low, "high": window.high}
            for window in exhibit.windows
        ],
        "start": exhibit.start,
        "notes": exhibit.notes,
    }
    return (
        f'<script type="application/json" class="viewer-exhibit" '
        f'data-name="{html.escape(exhibit.name)}">{_json(content)}</script>'
    )


def _holds(exhibit: ViewerCase, region: str) -> bool:
    """Whether another region lies within a region, so that this is drawn as glass in 3D."""
    own = set(exhibit.regions.labels[region])
    return any(set(labels) < own for labels in exhibit.regions.labels.values())


def _json(content: object) -> str:
    """JSON that no parser of HTML takes for markup."""
    written = json.dumps(content, separators=(",", ":"))
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return written


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


@cache
def _script() -> str:
    """Licences, NiiVue and the viewer as one script."""
    licences = _asset("niivue/LICENSES.txt")
    return f"/*\n{licences}*/\n{_asset('niivue/niivue.js')}\n{_asset('viewer.js')}"


@cache
def _asset(name: str) -> str:
    return files("thorax.reporting.viewer").joinpath(name).read_text(encoding="utf-8")

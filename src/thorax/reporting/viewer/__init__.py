"""Viewer of scans and masks as one HTML page: slices, windows, outlines and surfaces.

NiiVue (Hanayik & Rorden, BSD 2-Clause) renders the page; its bundle is in ``niivue/``.
`make_viewer_case` reduces a case to about 1.5 MB, `viewer_page` builds a document of cases, and
`viewer_fragment` a part of another document. Both open from disk and send no requests.

``viewer.js`` traces the outlines from the masks, because NiiVue's outlines have the resolution of
the scan and cannot be dashed.
"""

from thorax.reporting.viewer.cases import (
    NamedWindow,
    ViewerCase,
    ViewerMask,
    make_viewer_case,
)
from thorax.reporting.viewer.page import Fragment, viewer_fragment, viewer_page

__all__ = [
    "Fragment",
    "NamedWindow",
    "ViewerCase",
    "ViewerMask",
    "make_viewer_case",
    "viewer_fragment",
    "viewer_page",
]

"""A viewer of scans and masks that is one HTML page: planes, windows, outlines and surfaces.

What draws is NiiVue (Hanayik & Rorden, BSD 2-Clause), whose bundle lies in ``niivue/``. A case is
reduced by `make_viewer_case` to some 1.5 MB; `page` makes a document of cases, and `fragment` a piece
of somebody's document. Both work from a disk, and no request leaves them.

Outlines are traced by ``viewer.js`` from the masks, because NiiVue's are as coarse as the scan and
cannot be dashed.
"""

from thorax.reporting.html import content_policy
from thorax.reporting.viewer.cases import (
    LUNG,
    MEDIASTINUM,
    NamedWindow,
    ShownMask,
    ViewerCase,
    make_viewer_case,
)
from thorax.reporting.viewer.page import Fragment, fragment, page

__all__ = [
    "LUNG",
    "MEDIASTINUM",
    "Fragment",
    "NamedWindow",
    "ShownMask",
    "ViewerCase",
    "content_policy",
    "fragment",
    "make_viewer_case",
    "page",
]

"""Thumbnails of scans to review."""

from collections.abc import Sequence
from dataclasses import dataclass

from thorax.common.errors import InputError
from thorax.common.parallel import in_threads
from thorax.evaluation.cohort.scans import CohortScan
from thorax.imaging.intensity import IntensityScale, parse_intensity
from thorax.io import SEGMENTATION_SUFFIX
from thorax.reporting.audit_page.thumbnails import thumbnail
from thorax.reporting.cohort_page.review import DONE
from thorax.visualization.drawing import COLOURS

LABELS = {
    **{str(value): (value,) for value in range(1, len(COLOURS))},
    "others": tuple(range(len(COLOURS), 256)),
}
"""Label values of each colour: masks do not name their regions."""


@dataclass(frozen=True)
class Picture:
    """Thumbnail of a scan.

    Args:
        jpeg: The picture; empty if there is none.
        note: What is missing, for the card.
    """

    jpeg: bytes = b""
    note: str = ""


def draw_pictures(scans: Sequence[CohortScan]) -> dict[str, Picture]:
    """Draw scans with the outlines of their masks, by case; a missing file gives a note."""
    pictures = in_threads(draw_picture, scans, title="draw") if scans else []
    return {scan.case: picture for scan, picture in zip(scans, pictures, strict=True)}


def draw_picture(scan: CohortScan) -> Picture:
    """Draw a scan with the outlines of its mask."""
    if not scan.scan.exists():
        return Picture(note="The scan is no longer in its place.")
    note = ""
    if scan.status != DONE:
        note = "There is no mask."
    elif not scan.mask.exists():
        note = "The mask is no longer in its place."
    elif scan.mask.suffix == SEGMENTATION_SUFFIX:
        note = "Outlines of DICOM masks are not drawn."
    jpeg = thumbnail(
        scan.scan, None if note else scan.mask, LABELS, intensity=_scale(scan.intensity)
    )
    return Picture(jpeg, note) if jpeg else Picture(note="The scan cannot be read.")


def _scale(kind: str) -> IntensityScale | None:
    """Return the scale that a kind of intensity names; None for windows, which it does not state.

    Example:
        >>> _scale("HU + 1024"), _scale("8-bit window")
        (IntensityScale(window_hu=None, offset_hu=1024, inverted=False), None)
    """
    try:
        return parse_intensity(kind.replace(" ", "") or "auto")
    except InputError:
        return None

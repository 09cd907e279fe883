"""From the facts of one case to findings: one pure function a kind of fault.

The kinds, by the name that findings carry in `check`:

* `checks_files`: ``case-files``, ``case-name``, ``file-unreadable``;
* `checks_geometry`: ``mask-geometry``, ``no-orientation``, ``sheared``, ``spacing-declared`` (zero,
  negative, or other than in the affine), ``spacing-unit`` (metres, centimetres),
  ``spacing-made-up``, ``few-planes``;
* `checks_intensity`: ``scan-constant``, ``scan-empty``, ``intensity-unknown``,
  ``intensity-domain``, ``intensity-remark``;
* `checks_masks`: ``labels-unusable``, ``labels-unnamed``, ``region-empty``, ``lungs-cut-off``,
  ``lungs-volume``, ``lungs-not-dark``, ``mask-mirrored``, ``sides-swapped``;
* `across`, `patients` and `outliers`, which compare cases: ``scan-duplicate``, ``patient-twice``,
  ``intensity-mixture``, ``outlier-volume``, ``outlier-spacing``, ``outlier-intensity``,
  ``sides-mixed``, ``sides-doubtful``, ``region-unused``, ``label-unused``;
* `auditing`, which lists the files: ``file-passed-over``.
"""

from collections.abc import Iterator
from itertools import chain

from thorax.datasets.audit.checks import files, geometry, intensity, masks
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec

CHECKS = (
    files.case_files,
    files.case_name,
    files.unreadable,
    geometry.mask_geometry,
    geometry.no_orientation,
    geometry.sheared,
    geometry.spacing_declared,
    geometry.spacing_unit,
    geometry.spacing_made_up,
    intensity.constant,
    intensity.nearly_empty,
    intensity.unknown,
    intensity.other_domain,
    intensity.remarks,
    masks.unusable,
    masks.unnamed,
    masks.empty_regions,
    masks.cut_off,
    masks.volume,
    masks.not_dark,
    masks.mirrored,
    masks.swapped,
)


def check_case(
    facts: CaseFacts, spec: DatasetSpec, *, context: int | None = None
) -> Iterator[Finding]:
    """Find all faults of one case.

    Args:
        facts: What is known of it.
        spec: What the dataset says of its files.
        context: Planes that the network sees on each side of one; None: do not ask for them.
    """
    yield from chain.from_iterable(check(facts, spec) for check in CHECKS)
    if context is not None:
        yield from geometry.few_planes(facts, context)

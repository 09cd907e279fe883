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

from thorax.audit import checks_files, checks_geometry, checks_intensity, checks_masks
from thorax.audit.facts import CaseFacts
from thorax.audit.findings import Finding
from thorax.cases import DatasetSpec

CHECKS = (
    checks_files.case_files,
    checks_files.case_name,
    checks_files.unreadable,
    checks_geometry.mask_geometry,
    checks_geometry.no_orientation,
    checks_geometry.sheared,
    checks_geometry.spacing_declared,
    checks_geometry.spacing_unit,
    checks_geometry.spacing_made_up,
    checks_intensity.constant,
    checks_intensity.nearly_empty,
    checks_intensity.unknown,
    checks_intensity.other_domain,
    checks_intensity.remarks,
    checks_masks.unusable,
    checks_masks.unnamed,
    checks_masks.empty_regions,
    checks_masks.cut_off,
    checks_masks.volume,
    checks_masks.not_dark,
    checks_masks.mirrored,
    checks_masks.swapped,
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
        yield from checks_geometry.few_planes(facts, context)

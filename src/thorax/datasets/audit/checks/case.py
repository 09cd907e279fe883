"""Checks of one case: one pure function from facts to findings per kind of problem.

Identifiers in the `check` of findings, by module:

* `files`: ``case-files``, ``case-name``, ``file-unreadable``;
* `geometry`: ``mask-geometry``, ``no-orientation``, ``orientation-implausible``, ``sheared``,
  ``spacing-declared`` (zero, negative, or not that of the affine), ``spacing-unit`` (metres,
  centimetres), ``spacing-made-up``, ``few-planes``;
* `intensity`: ``scan-constant``, ``scan-empty``, ``intensity-unknown``, ``intensity-domain``,
  ``intensity-remark``;
* `masks`: ``labels-unusable``, ``labels-unnamed``, ``region-empty``, ``lungs-cut-off``,
  ``lungs-volume``, ``lungs-not-dark``, ``mask-mirrored``, ``sides-swapped``;
* `dataset`, `duplicates` and `outliers`, which compare cases: ``scan-duplicate``,
  ``patient-twice``, ``intensity-mixture``, ``outlier-volume``, ``outlier-spacing``,
  ``outlier-intensity``, ``sides-mixed``, ``sides-doubtful``, ``region-unused``, ``label-unused``;
* `audit`, which lists the files: ``file-passed-over``.
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
    geometry.misoriented,
    geometry.sheared,
    geometry.spacing_declared,
    geometry.spacing_unit,
    geometry.spacing_made_up,
    intensity.constant,
    intensity.nearly_empty,
    intensity.unknown,
    intensity.mismatch,
    intensity.remarks,
    masks.unusable,
    masks.unnamed,
    masks.empty_regions,
    masks.cut_off,
    masks.lung_volume,
    masks.not_dark,
    masks.mirrored,
    masks.swapped,
)


def check_case(
    facts: CaseFacts, spec: DatasetSpec, *, context: int | None = None
) -> Iterator[Finding]:
    """Run all checks of one case.

    Args:
        facts: Facts of the case.
        spec: Content of `dataset.yaml`.
        context: Neighbouring planes that the network uses on each side; None: any number of planes
            is accepted.
    """
    yield from chain.from_iterable(check(facts, spec) for check in CHECKS)
    if context is not None:
        yield from geometry.few_planes(facts, context)

"""From the facts of one case to findings: one pure function a kind of fault.

The kinds, by the name that findings carry in `check`:

* files: ``case-files``, ``file-unreadable``;
* geometry: ``mask-geometry``, ``no-orientation``, ``sheared``, ``spacing-declared`` (zero or
  negative), ``spacing-unit`` (metres, centimetres), ``few-planes``;
* intensity: ``scan-constant``, ``scan-empty``, ``intensity-unknown``, ``intensity-domain``,
  ``intensity-remark``;
* masks: ``labels-unusable``, ``labels-unnamed``, ``region-empty``, ``lungs-cut-off``,
  ``lungs-volume``, ``lungs-not-dark``, ``mask-mirrored``, ``sides-swapped``;
* across cases, in `across`: ``scan-duplicate``, ``patient-twice``, ``intensity-mixture``,
  ``outlier-volume``, ``outlier-spacing``, ``outlier-intensity``, ``sides-mixed``,
  ``region-unused``, ``label-unused``.
"""

"""Masks as DICOM objects that refer to a series: segmentations (SEG) and structure sets (RTSTRUCT).

`read_masks` reads both. `source` checks and repeats the headers of the series for both writers:
`thorax.io.dicom_segmentation` and `structure_set_writer`.
"""

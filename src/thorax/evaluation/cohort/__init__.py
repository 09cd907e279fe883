"""Measurements of the scans of a cohort: scans, outliers and groups."""

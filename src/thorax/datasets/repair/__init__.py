"""Corrected copies of datasets."""

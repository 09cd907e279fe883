"""Datasets: contents, sources, folds, versions and audit."""

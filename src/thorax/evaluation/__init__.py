"""Metrics of mask pairs, scores per case, summaries with confidence intervals."""

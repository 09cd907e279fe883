"""Checks of an audit: pure functions from facts to findings."""

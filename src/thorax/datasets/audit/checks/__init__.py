"""Checks of an audit: pure functions from measured facts to findings."""

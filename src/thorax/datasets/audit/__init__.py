"""Audit of a dataset: checks of its files, one by one and against each other.

`measure` reads both files of a case once and returns `CaseFacts`; a damaged file becomes a fact,
not an exception. `checks` turns facts into findings: `checks.case` per case, `checks.dataset`
across cases. `audit` runs all of this. No file is changed here; `datasets.repair` writes corrected
copies.
"""

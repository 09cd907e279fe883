"""The audit of a dataset: what is wrong with its files, one by one and against each other.

`measure` turns the two files of a case into `CaseFacts` in one pass, and never raises for what a
file holds. All else works on facts: `checks` looks at one case, `across` at all of them, and each
fault becomes a `Finding`; `audit_dataset` in `auditing` does all of it. Nothing here changes a
file; corrected copies are made by `fixing`.
"""

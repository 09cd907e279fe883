"""The page that shows the audit of a dataset."""

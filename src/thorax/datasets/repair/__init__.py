"""Safe corrections of datasets."""

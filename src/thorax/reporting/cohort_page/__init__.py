"""HTML page of a cohort."""

"""HTML page of a dataset audit."""

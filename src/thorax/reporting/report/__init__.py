"""Report of a run: an HTML page that opens from disk, and Markdown for a paper."""

"""What a run of the pipeline found, as one page that opens from disk, and as text for a paper."""

"""From a scan to masks, measurements and quality checks; single scans and batches."""

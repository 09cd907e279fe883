"""The manifest of a batch of scans, and its parts on several machines."""

"""Initial weights from other networks."""

"""Segment the lungs, and disease inside them, in 3D chest CT."""

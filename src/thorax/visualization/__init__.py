"""Pictures of slices and surfaces, with matplotlib and NumPy; no display needed."""

"""Pictures of slices and surfaces, drawn by matplotlib and NumPy without a display."""

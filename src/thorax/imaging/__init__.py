"""Arrays in space: grid, intensity, labels, placement on the canvas. NumPy and SciPy only."""

"""Where SciPy keeps its compiled transforms."""

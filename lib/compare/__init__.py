"""Step 04: groups of texts compared."""

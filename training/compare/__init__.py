"""The comparison: every model on the same split, with the same budget, by the same metrics."""

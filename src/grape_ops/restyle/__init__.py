"""Cells that the model repaints, and how they compare with real ones (section 4.3)."""

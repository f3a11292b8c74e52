"""Cells that the model restyles, and how they compare with real ones (section 4.3)."""

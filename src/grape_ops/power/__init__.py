"""How small an effect does a screen find? Known phenotypes planted in its own control cells (docs/calibrate.md)."""

"""From tiles to crops, section 3.2 of the paper, one file per step."""

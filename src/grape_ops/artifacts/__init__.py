"""Results on disk: what decides them, how they are written, whose they are, and what is up to date."""

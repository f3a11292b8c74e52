"""Which genes have a phenotype: tests in which the guide, and not the cell, is the unit (docs/hits.md)."""

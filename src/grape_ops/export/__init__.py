"""What other tools take: gene maps, clusters, crops, and whole submissions of the OPS Data Standard."""

"""What ``import grape_ops as go`` offers, and the command line calls: one file per stage."""

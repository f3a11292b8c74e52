"""Methods run as parallel jobs, each in a process of its own, and what they cost."""

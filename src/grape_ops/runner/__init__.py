"""Methods run as jobs beside each other, each in a process of its own, and what they cost."""

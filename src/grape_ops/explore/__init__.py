"""The gene map in a browser: a live page served from this machine, or the same page as files."""

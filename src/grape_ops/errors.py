"""The one exception a user is meant to read.

Raise it with a message in the user's words: what is missing, what was there, which setting mends it. The
command line prints the message without a traceback and exits with code 1.
"""


class GrapeOpsError(Exception):
    """Something about the user's input, settings or files is wrong, and the message says what mends it."""

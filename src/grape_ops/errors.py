"""The exceptions a user is meant to read.

Raise them with a message in the user's words: what is missing, what was there, which setting fixes it. The
command line prints the message without a traceback and exits with the exception's code.
"""

# Exit code of a command that did its work, but had to leave out tiles, crops, cells or batches.
LEFT_OUT = 3


class GrapeOpsError(Exception):
    """Something about the user's input, settings or files is wrong, and the message says what fixes it."""

    exit_code = 1


class NothingToTest(GrapeOpsError):
    """The cells' guides cannot tell which genes have a phenotype: a pipeline leaves that step out, and goes on."""


class Interrupted(GrapeOpsError):
    """A signal asked the job to stop; what was done is saved, and the message says how to go on."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number  # 130 for Ctrl-C, 143 for SIGTERM

"""Stopping in good order: Ctrl-C and SIGTERM end the step at hand, not the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignal:
    """The signal that asked to stop, or 0."""

    number = 0


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Note Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C interrupts at once."""
    received = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return

    def note(number: int, _: FrameType | None) -> None:
        received.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

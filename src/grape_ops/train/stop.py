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
    """Note Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C interrupts at once.

    A signal that the parent had ignored, as nohup and shells do for background jobs, stays ignored.
    """
    received = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return

    def note(number: int, _: FrameType | None) -> None:
        received.number = number
        if signal.SIGINT in heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    heeded = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, note) for s in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

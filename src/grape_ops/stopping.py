"""How a process ends: after its step when it is interrupted, and with its parent."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType


@contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: a process that is half started would end with a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
    if came:
        signal.raise_signal(signal.SIGINT)


def follow_parent(lifeline: Connection) -> None:
    """Let this worker process end with its parent, however that ends; what a pool's ``initializer`` calls.

    Parameters
    ----------
    lifeline : the receiving end of a pipe that nothing is ever sent through, and whose other end the parent holds.
    """
    # Ctrl-C reaches all processes of the terminal; the parent alone decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()


def _die_with_parent(lifeline: Connection) -> None:
    # Nothing is ever sent: the wait ends when the other end is closed, by the parent or by its death.
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


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

"""Several processes that work off a queue of tasks, and die with their parent."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, Protocol

from grape_ops.errors import GrapeOpsError
from grape_ops.machine import core_count, follow_parent, interrupt_held_back

Task = tuple[Callable[..., Any], tuple[Any, ...]]


class TaskRunner(Protocol):
    """Works off tasks, on this machine or elsewhere."""

    def run(self, first: deque[Task], then: Iterable[Task] = ()) -> Iterator[Any]:
        """See ``Workers.run``."""


def worker_count(asked: int) -> int:
    """Return the number of processes: what was asked for, or with 0 one per core this process may use."""
    return asked or core_count()


class Workers:
    """A pool of processes, started when there is something to do and ended with the ``with`` block.

    With one worker everything happens in this process.
    """

    def __init__(self, count: int):
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        # Tasks that nobody waits for any more are dropped; those that run are short, and end by themselves.
        # Cutting them off could leave half a message in the pool's pipes, which it would wait for forever.
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._lifeline:
            self._lifeline.close()

    def run(self, first: deque[Task], then: Iterable[Task] = ()) -> Iterator[Any]:
        """Work off tasks and yield each one's result when it is done, in any order.

        Functions are found by name in the other process, so they stand at the top of a module; their results
        should be small.

        Parameters
        ----------
        first : tasks that go before all others; whoever consumes the results may add some meanwhile.
        then : further tasks, asked for one by one as workers become free.
        """
        others = iter(then)

        def following() -> Task | None:
            return first.popleft() if first else next(others, None)

        if self.count == 1:
            while task := following():
                function, arguments = task
                yield function(*arguments)
            return
        pending: set[Future[Any]] = set()
        try:
            while True:
                # Few tasks are handed out ahead, so that what the consumer adds comes soon.
                while len(pending) < 2 * self.count and (task := following()):
                    function, arguments = task
                    with interrupt_held_back():  # submitting starts processes
                        pending.add(self._started().submit(function, *arguments))
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise GrapeOpsError(
                "A worker process was ended from outside, often for want of memory: go on with --resume and "
                "fewer workers (--set preprocess.workers=1)."
            ) from None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not a fork: the parent may hold threads and locks of other libraries.
            context = multiprocessing.get_context("spawn")
            listening, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=context, initializer=follow_parent, initargs=(listening,)
            )
        return self._pool

"""Processes that work off a queue of tasks and die with their parent, or the same tasks on a Dask cluster.

On a cluster, screen and store lie on a file system that all machines see under the same path. Tasks write files of
their own, and doing one twice writes the same bytes; a task whose worker is lost goes to another one.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol

from grape_ops.errors import GrapeOpsError
from grape_ops.machine import core_count
from grape_ops.stopping import follow_parent, interrupt_held_back

if TYPE_CHECKING:
    from distributed import Client

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

    With one worker everything happens in this process. ``again`` says how the user goes on after a lost worker.
    """

    def __init__(self, count: int, again: str = "go on with --resume and fewer workers (--set preprocess.workers=1)"):
        self.count = count
        self.again = again
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
                f"A worker process was ended from outside, often because memory ran out: {self.again}."
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


WAIT_SECONDS = 60


def task_runner(scheduler: str | None, count: int) -> "ClusterWorkers | Workers":
    """Return the workers of a Dask scheduler, or of this machine: ``count`` processes, with 0 one per core."""
    return ClusterWorkers(scheduler) if scheduler else Workers(worker_count(count))


class ClusterWorkers:
    """The workers of a Dask scheduler, to be used as ``Workers`` are.

    Parameters
    ----------
    address : of the scheduler, such as ``tcp://10.0.0.5:8786``.
    again : how the user goes on after a lost task, in words.

    Raises
    ------
    GrapeOpsError : Dask is not installed, nobody answers, or the scheduler has no workers.
    """

    def __init__(self, address: str, again: str = "go on with --resume"):
        self.address, self.again = address, again
        self._client: Client | None = None

    def __enter__(self) -> "ClusterWorkers":
        try:
            from distributed import Client
        except ImportError:
            raise GrapeOpsError(
                "Work on a cluster needs Dask: pip install 'grape-ops[cluster]' here and on its workers."
            ) from None
        try:
            self._client = Client(self.address, timeout=WAIT_SECONDS, set_as_default=False)
            self._client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise GrapeOpsError(
                f"No Dask scheduler with workers answers at {self.address}: {error}. Start one with `dask scheduler` "
                "and `dask worker`, and name it as --scheduler tcp://HOST:PORT."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._client:
            self._client.close()  # what nobody waits for any more is dropped

    def run(self, first: deque[Task], then: Iterable[Task] = ()) -> Iterator[Any]:
        """Work off tasks and yield each one's result when it is done; see ``Workers.run``."""
        from distributed import KilledWorker, as_completed

        assert self._client
        others = iter(then)
        running, count = as_completed(loop=self._client.loop), 0
        while True:
            # The cluster may grow and shrink meanwhile.
            while count < 2 * max(1, sum(self._client.nthreads().values())):
                task = first.popleft() if first else next(others, None)
                if task is None:
                    break
                function, arguments = task
                running.add(self._client.submit(function, *arguments, pure=False))
                count += 1
            if not count:
                return
            future = next(running)
            count -= 1
            try:
                yield future.result()
            except KilledWorker:
                raise GrapeOpsError(
                    "A task was lost with several workers of the cluster, often because memory ran out: give them more "
                    f"and {self.again}."
                ) from None

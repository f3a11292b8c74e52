"""Preprocessing on a Dask cluster: the same tasks as on one machine, handed to workers elsewhere.

Screen and store lie on a file system that all machines see under the same path. Tasks write files of their own, and
doing one twice writes the same bytes; a task whose worker is lost goes to another one.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.workers import Task, Workers, worker_count

if TYPE_CHECKING:
    from distributed import Client

WAIT_SECONDS = 60


def task_runner(scheduler: str | None, count: int) -> "ClusterWorkers | Workers":
    """Return the workers of a Dask scheduler, or of this machine: ``count`` processes, with 0 one per core."""
    return ClusterWorkers(scheduler) if scheduler else Workers(worker_count(count))


class ClusterWorkers:
    """The workers of a Dask scheduler, to be used as ``Workers`` are.

    Parameters
    ----------
    address : of the scheduler, such as ``tcp://10.0.0.5:8786``.

    Raises
    ------
    GrapeOpsError : Dask is not installed, nobody answers, or the scheduler has no workers.
    """

    def __init__(self, address: str):
        self.address = address
        self._client: Client | None = None

    def __enter__(self) -> "ClusterWorkers":
        try:
            from distributed import Client
        except ImportError:
            raise GrapeOpsError(
                "Preprocessing on a cluster needs Dask: pip install 'grape-ops[cluster]' here and on its workers."
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
                    "A task was lost with several workers of the cluster, often for want of memory: give them more, "
                    "and go on with --resume."
                ) from None

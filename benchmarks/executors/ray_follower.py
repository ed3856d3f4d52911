"""Collects the reports of Ray tasks in a thread, while the main thread freezes further candidate sets."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from benchmarks.executors.ray_cluster import Watch
from benchmarks.measuring.progress import say
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from benchmarks.executors.ray_driver import Task


class Follower:
    """A thread that adds the reports of tasks to their cells, until all have ended or the cluster is lost.

    The end of the `with` block waits for the thread; after an error in the block, only until its current
    write is finished.

    Args:
        ray: the module, connected.

    Raises:
        StoreError: the results cannot be written.
    """

    def __init__(self, ray: Any) -> None:
        self._ray, self._watch = ray, Watch(ray)
        self._started: SimpleQueue[Sequence[Task] | None] = SimpleQueue()  # None: there are no more
        self._is_open, self._is_stopped = True, Event()
        self._running: dict[Any, Task] = {}
        self._total = 0
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Follower:
        self._end: Future[None] = self._thread.submit(self._follow)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.put(None)
        if error is not None:
            self._is_stopped.set()
        try:
            self._end.result()
        finally:
            self._is_stopped.set()
            self._thread.shutdown()

    def add(self, tasks: Sequence[Task]) -> None:
        """Follow more tasks, which are already running; raise the error of the thread if it has failed."""
        if self._end.done():
            self._end.result()  # which raises what ended it
        self._started.put(tasks)

    def _follow(self) -> None:
        """Handle reports until all tasks have ended or the block was left with an error.

        The thread's main loop.
        """
        while self._takes_more() and not self._is_stopped.is_set():
            if self._watch.lost:
                self._give_up()
            else:
                self._listen()

    def _listen(self) -> None:
        """Wait for one task's reports and handle them; print a message if the cluster is lost."""
        stream = self._watch.next_news({stream: task.resources for stream, task in self._running.items()})
        if self._watch.lost:
            say(f"Ray: {self._watch.lost}")
        elif stream is not None:
            self._hear(stream)

    def _takes_more(self) -> bool:
        """Add newly started tasks to the running ones, waiting if none runs; return whether one runs."""
        while self._is_open and not (self._running and self._started.empty()):
            tasks = self._started.get()
            self._is_open = tasks is not None
            self._running |= {task.stream: task for task in tasks or ()}
            self._total += len(tasks or ())
        return bool(self._running)

    def _give_up(self) -> None:
        """Cancel all running tasks and end them with the error that the cluster is lost."""
        for task in self._running.values():
            if self._watch.is_connected:
                task.cancel()
            task.end(ModelError(self._watch.lost))
        self._running.clear()

    def _hear(self, stream: Any) -> None:
        """Read a task's messages into its cells; restart or end the task if it has ended or was lost."""
        task = self._running[stream]
        error: Exception | None = None
        try:
            messages = task.read()
        except self._ray.exceptions.RayError as lost:
            messages, error = None, lost
        if messages is not None:
            for message in messages:
                task.take(message, self._running.values())
            return
        del self._running[stream]
        if error is not None and task.start_again(error):
            self._running[task.stream] = task
            return
        failure = task.end(error)
        say(f"task {self._total - len(self._running)} of {self._total}: {failure}")

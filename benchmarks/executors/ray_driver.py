"""Starts a task of a Ray cluster, files its reports into its cells, and restarts it after a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.executors.machine import runs_alone
from benchmarks.executors.ray_task import Arrival, News, Work, measure, measure_at_once
from benchmarks.measuring.cell_run import explain
from benchmarks.measuring.progress import say
from benchmarks.results.record import Executor
from rerankers.errors import ModelError, RerankbenchError
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.executors.gathering import Gathering
    from benchmarks.executors.travel import Luggage
    from benchmarks.experiments.config import Experiment

RETRIES = 3  # of a task whose worker is lost; what a reranker raises is its cell's result
GET_SECONDS = 60.0  # for a report that is ready on its node to arrive


class Task:
    """A task on the cluster: some cells on some queries, from its start until it ended or was given up.

    Args:
        ray: the imported module.
        experiment: the experiment of the cells.
        gathered: the cells; several are measured in turn.
        query_ids: the queries.
        sent: Ray's reference to these queries with their candidates.
        embedded: Ray's references to vectors of passages that other tasks embed.
        resources: the CPUs and GPUs that the task requests.
        luggage: the local files that the cells need.

    Attributes:
        stream: Ray's stream of the task's reports.
    """

    def __init__(
        self,
        ray: Any,
        experiment: Experiment,
        gathered: Sequence[Gathering],
        query_ids: tuple[str, ...],
        sent: Any,
        embedded: Sequence[Any],
        resources: dict[str, int],
        luggage: Luggage,
    ) -> None:
        self._ray, self._experiment, self._query_ids = ray, experiment, query_ids
        self._sent, self._embedded, self._luggage = sent, embedded, luggage
        self.gathered, self.resources = gathered, resources
        self._tries = 0
        self._begin()

    @property
    def name(self) -> str:
        """Name for people: the candidate set and the systems."""
        plan, *others = (gathering.plan for gathering in self.gathered)
        return f"{plan.pool.name}: {plan.label}" + (f" and {len(others)} more" if others else "")

    def _begin(self) -> None:
        """Start the remote task with the rows that its cells already have, and reset its progress."""
        plans = [gathering.plan for gathering in self.gathered]
        earlier = [gathering.part(self._query_ids) for gathering in self.gathered]
        alone = runs_alone(plans[0].protocol, self.resources)
        work = Work(self._experiment, plans, earlier, self._luggage, alone)
        self._calls = len(plans) * len(self._query_ids) * plans[0].protocol.repeats
        self._done = sum(len(state.rows) for state in earlier)
        self._sessions: list[int | None] = [None] * len(plans)
        self._arrival: Arrival | None = None
        self._heard = 0.0  # when it last told something, by its machine's clock
        self._neighbours: list[Task] = []
        self._progress: Activity | None = None
        self._is_read = False
        self._is_stream = not self._ray.util.client.ray.is_connected()
        function, returns = (measure, "streaming") if self._is_stream else (measure_at_once, 1)
        remote = self._ray.remote(function).options(max_retries=0, num_returns=returns, **self.resources)
        self.stream = remote.remote(work, self._sent, *self._embedded)
        self._tries += 1

    def read(self) -> list[Arrival | News] | None:
        """Wait for the task's next messages and return them; None if it has ended.

        Raises:
            ray.exceptions.RayError: the task failed, or was lost.
        """
        if self._is_stream:
            try:
                return [self._ray.get(next(self.stream), timeout=GET_SECONDS)]
            except StopIteration:
                return None
        if self._is_read:
            return None
        self._is_read = True
        reports: list[Arrival | News] = self._ray.get(self.stream)
        return reports

    def take(self, message: Arrival | News, others: Iterable[Task]) -> None:
        """Handle one message of the task: note where it runs, or add its rows to the cells.

        Args:
            message: the message.
            others: all running tasks, this one included.
        """
        self._heard = message.seconds
        if isinstance(message, Arrival):
            self._arrive(message, others)
            return
        if self._progress is None:
            assert self._arrival is not None  # noqa: S101 - the first thing a task tells
            self._progress = Activity(f"{self.name} on {self._arrival.node}", self._calls, self._done)
            self._progress.__enter__()
        for place, (gathering, report) in enumerate(zip(self.gathered, message.reports, strict=True)):
            self._sessions[place], count = gathering.add(report, self._sessions[place], self._executor())
            if count:
                self._progress.advance(count)

    def _arrive(self, arrival: Arrival, others: Iterable[Task]) -> None:
        """Note where the task runs, print it, and register it with the tasks on the same machine."""
        self._arrival = arrival
        if arrival.waits:
            say(f"{self.name}: waits on {arrival.node} until another measurement there has ended")
            return
        say(f"{self.name}: {len(self._query_ids)} queries on {arrival.node}")
        for other in others:
            if other is not self and other._arrival and other._arrival.machine == arrival.machine:
                self._neighbours.append(other)
                other._neighbours.append(self)

    def _co_runners(self) -> set[str]:
        """Return labels of the systems known to be measured on its machine at the same time."""
        assert self._arrival is not None  # noqa: S101 - the first thing a task tells
        return {
            gathering.plan.label
            for other in self._neighbours
            if other._arrival is not None
            and not other._arrival.waits
            and other._arrival.seconds <= self._heard
            and self._arrival.seconds <= other._heard
            for gathering in other.gathered
        }

    def _executor(self) -> Executor:
        """Return the record entry of where the task runs: node, GPUs and co-runners."""
        assert self._arrival is not None  # noqa: S101 - the first thing a task tells
        return Executor(
            name="ray",
            node=self._arrival.node_id,
            gpus=self.resources.get("num_gpus", 0),
            co_runners=tuple(sorted(self._co_runners())),
        )

    def start_again(self, error: Exception) -> bool:
        """Start a lost task again; return False if it failed by itself or has used up its tries."""
        self._end_progress()
        kinds = self._ray.exceptions
        ended = (kinds.RayTaskError, kinds.RuntimeEnvSetupError, kinds.TaskCancelledError)
        if isinstance(error, ended) or self._tries > RETRIES:
            return False
        self.cancel()  # if only its reports were lost
        where = f" on {self._arrival.node}" if self._arrival else ""
        self._begin()
        say(
            f"{self.name}: a worker died{where} ({first_sentence(error)}); "
            f"starts again with {self._done} of {self._calls} calls done, try {self._tries} of {RETRIES + 1}"
        )
        return True

    def end(self, error: Exception | None = None) -> str:
        """End the task in its cells, failed if an error is passed.

        Return its name with the failure, if any.
        """
        self._end_progress()
        cause = getattr(error, "cause", None) or error
        if cause is not None and not isinstance(cause, RerankbenchError):
            cause = ModelError(first_sentence(cause))
        for gathering in self.gathered:
            gathering.end_task(cause)
        failed = [str(gathering.failure) for gathering in self.gathered if gathering.failure is not None]
        return f"{self.name} failed: {failed[0]}" if failed else self.name

    def cancel(self) -> None:
        """Ask Ray to stop the task."""
        self._ray.cancel(self.stream)

    def _end_progress(self) -> None:
        """Close the task's progress display, if one is open."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message; those of Ray fill pages."""
    return explain(error).partition(". ")[0].rstrip(".")

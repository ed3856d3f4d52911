"""The stages of a query's latency, and the only clock in the project.

A stage waits until the device has finished all queued work before it starts and before it ends, so that
asynchronous GPU kernels are charged to the stage that launched them. The clock and the device's
synchronisation are injected: tests use a fake clock, a CPU has nothing to wait for, CUDA waits for its
stream. Work done for several requests at once is shared evenly between them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from rerankers.errors import ModelError, is_failure, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Stage = Literal[
    "retrieve",
    "fetch",
    "embed",
    "project",
    "prompt",
    "prefill",
    "think",
    "decode",
    "generate",
    "forward",
    "parse",
    "order",
]
STAGE_MEANINGS: dict[Stage, str] = {
    "retrieve": "harness: the first stage answers the query",
    "fetch": "harness: the candidates' texts are looked up",
    "embed": "passages or queries through an embedding model, or from the embedding store",
    "project": "embeddings into the LLM's input space",
    "prompt": "building and tokenising the model's input",
    "prefill": "the LLM reads the prompt",
    "think": "the LLM writes thoughts before its answer, step after step",
    "decode": "the LLM writes its answer, step after step",
    "generate": "an LLM call whose prefill and decode cannot be told apart",
    "forward": "one pass of a scoring model",
    "parse": "turning an answer into a permutation",
    "order": "sorting scores, assembling the ranking",
}
STAGES: tuple[Stage, ...] = get_args(Stage)


class Timed(Protocol):
    """An account that stages charge seconds to, such as `rerankers.Cost`."""

    stage_seconds: dict[Stage, float]


class StageClock:
    """A clock that charges the seconds of a query's stages to costs.

    Args:
        now: a monotonic clock in seconds.
        synchronise: returns when the device has no work left; nothing to wait for on a CPU.
        workers: threads that work at the same time, each with such a clock. Seconds are divided by their
            number, so that the times of all threads add up to the time that passed.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        synchronise: Callable[[], None] = lambda: None,
        workers: int = 1,
    ) -> None:
        self._now = now
        self._synchronise = synchronise
        self._workers = workers
        self._advanced = 0.0

    def now(self) -> float:
        """Return the clock's time in seconds, once the device is idle."""
        self._synchronise()
        return self._now() + self._advanced

    def advance(self, seconds: float) -> None:
        """Move the clock forward by seconds that did not pass here, such as those of a cached response.

        A negative number takes off seconds that did pass and are not to count.
        """
        self._advanced += seconds

    def for_one_of(self, workers: int) -> StageClock:
        """Return a clock for one of `workers` threads that rank requests of their own at the same time.

        It divides the seconds that it charges by their number.
        """
        return StageClock(self._now, self._synchronise, workers)

    @contextmanager
    def stage(self, name: Stage, *costs: Timed) -> Iterator[None]:
        """Charge the seconds that the `with` block takes to a stage, an equal share to each of `costs`.

        The seconds are added to those that the stage already has; stages of one request never overlap.
        A block that raises is not charged.

        Args:
            name: the stage.
            costs: those of the requests that the block works for.

        Raises:
            ModelError: compiled code of a library panicked, which is not an `Exception` otherwise.
        """
        started = self.now()
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception) or not is_failure(error):
                raise
            raise ModelError(f"stage {name!r}: the model's tokenizer failed: {reason_of(error)}") from error
        share = (self.now() - started) / self._workers / max(1, len(costs))
        for cost in costs:
            cost.stage_seconds[name] = cost.stage_seconds.get(name, 0.0) + share

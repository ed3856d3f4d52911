"""Passes that are captured once and replayed: as CUDA graphs, or compiled by torch's own compiler.

A graph sends all kernels of a pass by one call. A compiled pass has fewer kernels, but takes seconds to
minutes a bucket to make, and a C++ compiler on a CPU or Triton on a GPU. Buckets are captured when they are
first met, until `close` says that from now on queries are measured. A bucket that is met later, or whose
capture failed, runs the same pass uncaptured.

Graphs follow the notes on CUDA semantics in torch's documentation: the pass runs on a side stream before that
stream is captured, all graphs share one pool of memory, and inputs and outputs stay where they are.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from rerankers.errors import ModelError
from rerankers.llm.exactness import is_alike
from rerankers.llm.static.buckets import BucketBuffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankers.llm.static.buckets import BucketPass
    from rerankers.llm.static.decoder import StaticDecoder

CaptureMode = Literal["graphs", "compiled"]
_COMPILER_OPTIONS: dict[str, Any] = {
    "cpp.dynamic_threads": True,  # threads that rank side by side have a share of the cores each
    "fx_graph_cache": False,  # its key reads all weights
    "size_asserts": False,  # a pass gets the tensors that it was made for, every time
}


class CapturedPasses:
    """The passes of a decoder in buckets, captured where that works.

    Args:
        decoder: the decoder.
        mode: how to capture.

    Attributes:
        mode: how to capture.
        failure: why the last capture failed, in one line, after which none is tried; None if none failed.
    """

    def __init__(self, decoder: StaticDecoder, mode: CaptureMode) -> None:
        self.mode = mode
        self.failure: str | None = None
        self._decoder = decoder
        self._capture: Callable[[BucketPass], Callable[[], torch.Tensor]]
        self._capture = _Graphs() if mode == "graphs" else _Compiler()
        self._is_open = True
        self._lock = threading.Lock()  # threads have buffers of their own, and torch captures one at a time

    def new_buffers(self) -> BucketBuffers:
        """Return empty key and value buffers for passes in buckets."""
        return BucketBuffers(self._decoder)

    def close(self) -> None:
        """Capture nothing from now on."""
        self._is_open = False

    def forward(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        buffers: BucketBuffers,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the last hidden states, (rows, q, dimension), of embeddings that follow the columns in
        `buffers`.

        The arguments are those of `StaticDecoder.forward`.
        """
        rows, count, _ = inputs.shape
        start = buffers.length
        own = buffers.append_pass(rows, count)
        if self._is_open and own.replay is None and self.mode == "graphs":
            self._try_others(inputs, start, buffers, own)
        own.fill(inputs, positions, start, mask)
        if self._is_open and own.replay is None:
            self._try(own, rows, count)
        is_watched = _get_current_dispatch_mode() is not None  # one that counts operations sees no replay
        replay = None if is_watched else own.replay
        buffers.captured += replay is not None
        buffers.uncaptured += replay is None
        states = own.run() if replay is None else replay()
        return states[:rows, :count].clone()  # the next replay writes to the same memory

    def _try(self, own: BucketPass, rows: int, count: int) -> None:
        """Capture a pass whose memory is filled, and compare it with the pass itself.

        A failure is recorded, and ends all capturing.

        Args:
            own: the pass.
            rows: its rows with data.
            count: its tokens with data.
        """
        with self._lock:
            if not self._is_open:
                return
            try:
                replay = self._capture(own)
                expected = own.run()[:rows, :count].clone()
                if not is_alike(replay()[:rows, :count], expected):
                    raise ModelError("hidden states differ from those of the uncaptured pass")
                own.replay = replay
            except Exception as error:
                [reason, *_] = str(error).splitlines() or [""]
                self.failure = f"capturing failed: {type(error).__name__}: {reason}"
                self._is_open = False

    def _try_others(self, inputs: torch.Tensor, start: int, buffers: BucketBuffers, own: BucketPass) -> None:
        """Capture the passes of as many rows with other numbers of tokens, as far as they fit.

        A graph is made in a fraction of a second. What these passes write stands behind the columns that are
        filled, where the pass itself comes next.

        Args:
            inputs: embeddings of the pass, (rows, q, dimension), of which theirs are made.
            start: columns that are filled.
            buffers: keys and values.
            own: the pass.
        """
        rows, count, _ = inputs.shape
        for tokens in own.bucket.narrower():
            if start + tokens <= own.bucket.columns and tokens != own.bucket.tokens:
                buffers.set_length(start)
                other = buffers.append_pass(rows, tokens)
                if other.replay is None:
                    index = torch.arange(tokens, device=inputs.device)
                    other.fill(inputs[:, index % count], start + index[None], start, None)
                    self._try(other, rows, tokens)
        buffers.set_length(start + count)


class _Graphs:
    """A maker of CUDA graphs that share one pool of memory and one stream.

    They may: graphs are replayed one after the other, and what one leaves in the pool is copied out before
    the next begins.
    """

    def __init__(self) -> None:
        self._pool: Any = None
        self._stream: Any = None

    def __call__(self, own: BucketPass) -> Callable[[], torch.Tensor]:
        """Return a function that replays the pass and returns its hidden states, always the same memory."""
        cuda: Any = torch.cuda
        if self._stream is None:
            self._pool, self._stream = cuda.graph_pool_handle(), cuda.Stream()
        self._stream.wait_stream(cuda.current_stream())
        with cuda.stream(self._stream):
            for _ in range(2):  # libraries choose kernels and take their workspace outside the graph
                own.run()
        cuda.current_stream().wait_stream(self._stream)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, pool=self._pool, stream=self._stream):
            states = own.run()

        def replay() -> torch.Tensor:
            """Replay the graph; `own` keeps alive what the graph knows by address only."""
            graph.replay()
            return states

        return replay


class _Compiler:
    """A maker of compiled passes; passes of one bucket on memory of the same layout share one.

    A pass is traced to a graph of torch's operations, which TorchInductor compiles as `torch.compile` has it
    do. There is nothing for TorchDynamo to find in the Python code of a pass, and its guards, one for each
    weight, would take as long as the pass.
    """

    def __init__(self) -> None:
        self._compiled: dict[tuple[object, ...], Callable[..., torch.Tensor]] = {}

    def __call__(self, own: BucketPass) -> Callable[[], torch.Tensor]:
        """Return a function that runs the compiled pass and returns its hidden states."""
        arguments = own.arguments()
        layout = own.bucket, arguments[-1][0].stride()
        if layout not in self._compiled:
            self._compiled[layout] = self._compile(own, arguments)
        compiled = self._compiled[layout]
        return lambda: compiled(*arguments)

    def _compile(self, own: BucketPass, arguments: tuple[Any, ...]) -> Callable[..., torch.Tensor]:
        """Return the compiled pass, a function of its arguments."""
        from torch.fx.experimental.proxy_tensor import make_fx

        def run(*arguments: Any) -> torch.Tensor:
            """Run the pass: a bound method cannot be traced."""
            return own.decoder.run_bucket(*arguments)

        compiled: Callable[..., torch.Tensor]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's compiler imports old parts of torch
            import torch._inductor  # takes a second

            traced = make_fx(run)(*arguments)
            compiled = torch._inductor.compile(traced, list(arguments), options=_COMPILER_OPTIONS)
        return compiled

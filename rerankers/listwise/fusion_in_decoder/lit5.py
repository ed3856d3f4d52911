"""LiT5-Distill: a fusion-in-decoder T5 writes the order of a window (arXiv 2312.16098, section 3.2).

Each passage of a window has a prompt of its own: the query, the passage with its number in the window, and
"Relevance Ranking:". The decoder attends to all of them and writes `[4] > [2] > ...`, which is read as
RankGPT's answers are. Prompts, cuts and parsing are those of the published code; under
`window_policy: sliding-reference` the windows are, too. Deviations: windows are clipped at the head of the
list by default (see `rerankers.listwise.windows`), a short list gets no empty passages to fill a window, and
an answer ends once the ranks that the policy reads are written, after which nothing can change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.errors import InputError
from rerankers.listwise.fusion_in_decoder.base import FusionInDecoderReranker
from rerankers.listwise.fusion_in_decoder.network import FusionInDecoder
from rerankers.listwise.permutation import is_known, parse
from rerankers.listwise.windows import WindowOptions, WindowPlan, check_windows, is_sliding
from rerankers.models.batching import BatchTokens
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.interface import Usage
    from rerankers.listwise.windows import Rounds, Window

_WINDOWS = WindowOptions()
_SOURCE = "castorini/LiT5, FiD/LiT5-Distill.py"


class LiT5(FusionInDecoderReranker):
    """Listwise reranking by a fusion-in-decoder T5 that writes permutations.

    Args:
        model: hub id or folder of a LiT5-Distill checkpoint. The v2 checkpoints take up to 100 passages a
            call: `window: 100`.
        revision: hub revision.
        windows: which passages the calls show; in experiment files these options stand beside the others.
        top: ranks that must be exact; an answer ends as soon as all that can reach them is written. The
            model is greedy, so these ranks are those of full answers. None: all, or ten in a sort.
        passes: how often sliding windows go over the list.
        max_prompt_tokens: tokens after which a prompt, the query included, is cut at its end, as published.
        max_new_tokens: longest answer; None is one token for each character of a full answer.
        batch_size: most windows in one batch of the decoder, and most requests at work at once.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        batch_tokens: tokens in one forward pass of the encoder, padding included.
        device, dtype, attention: as everywhere; see `rerankers.models.devices`.

    Raises:
        InputError: window options do not fit each other.
        ModelError: the model does not load, or is not a T5.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        windows: WindowOptions = _WINDOWS,
        top: Annotated[int, Field(ge=1)] | None = None,
        passes: Annotated[int, Field(ge=1)] = 1,
        max_prompt_tokens: Annotated[int, Field(ge=8)] = 150,
        max_new_tokens: Annotated[int, Field(ge=1)] | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 16,
        control_tokens: ControlTokenMode = "text",
        batch_tokens: BatchTokens = "auto",
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
    ) -> None:
        self.check_options({**dict(windows), "passes": passes})
        self._plan = WindowPlan(windows, top, passes)
        self._max_new_tokens = max_new_tokens
        network = FusionInDecoder(
            model, revision, batch_tokens=batch_tokens, device=device, dtype=dtype, attention=attention
        )
        control = ControlTokens(network.tokenizer, control_tokens)
        super().__init__(network, control, max_prompt_tokens, batch_size)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse window options that do not fit each other."""
        check_windows(options)
        if options["passes"] > 1 and not is_sliding(options):
            raise InputError(
                f"passes {options['passes']}: only sliding windows go over the list more than once. "
                "Leave passes out, or use window_policy: sliding."
            )

    def describe(self) -> dict[str, object]:
        """Return the model as loaded, the limits, and where the prompt is from."""
        return {
            **self.network.describe(),
            "max_prompt_tokens": self._max_prompt_tokens,
            "control_tokens": self._control.mode,
            "prompt_source": _SOURCE,
        }

    def prompt(self, query: str, number: int, passage: str) -> str:
        """Return the query, the numbered passage and the request for a ranking."""
        return f"Search Query: {query} Passage: [{number}] {passage} Relevance Ranking: "

    def rounds(self, count: int, query_id: str) -> Rounds:
        """Return the window policy that the options name."""
        return self._plan.rounds(count, query_id)

    def longest_answer(self, count: int) -> int:
        """Return the option's limit, or the characters of a full answer."""
        return self._max_new_tokens or len(" > ".join(f"[{number}]" for number in range(1, count + 1)))

    def is_over(self, window: Window, text: str) -> bool:
        """Tell whether the ranks that the policy reads are written."""
        return is_known(text, len(window.shown), window.ranks)

    def read(self, window: Window, text: str, usage: Usage, *, is_cut: bool) -> list[int]:
        """Return the order of a window as RankGPT's answers are read."""
        parsed = parse(text, len(window.shown))
        faults = dict(parsed.faults)
        if self.is_over(window, text):
            faults.pop("missing", None)  # the answer was ended here
        for kind, times in faults.items():
            usage.fault(kind, times)
        usage.well_formed += not faults
        if is_cut and ("missing" in faults or "malformed" in faults):
            usage.fault("cut_off")
        return [window.shown[position] for position in parsed.order]

"""RankGPT: a chat model orders windows of passages, back to front (arXiv 2304.09542, section 4).

Prompt, parsing and, under `policy: reference`, windows are those of the published code. Deviations: windows
are clipped at the head of the list by default (see `rerankers.listwise.windows`); generation ends when every
id has been written, after which nothing can change the ranking; passages shrink if a window exceeds the
context of a model in this process.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.chat.conversation import ChatAnswer, ChatCall, Message, Talk
from rerankers.chat.options import ChatOptions
from rerankers.chat.reranker import ChatReranker
from rerankers.errors import InputError
from rerankers.interface import Cost, Ranking, RerankRequest, Usage
from rerankers.listwise.permutation import Parsed, Parsing, is_known, parse
from rerankers.listwise.prompts import PromptName, load_prompt, passage_words
from rerankers.listwise.windows import InitialOrder, WindowPolicy, initial_order, sliding_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rerankers.stages import StageClock


_TOKENS_PER_ID = 6  # "[20] > " by a tokenizer that splits every digit and sign
_TOKENS_AROUND = 32  # for a model that says a sentence first


class RankGPT(ChatReranker):
    """Listwise reranking by a chat model.

    Args:
        chat: the model and its backend; in experiment files these options stand beside the others.
        window: passages per call; 0 puts all candidates into one call.
        step: places the window moves.
        policy: `clipped` compares the head of the list always, `reference` as the published code.
        top: places that must be exact; an answer ends as soon as all that can reach them is written. The
            model is greedy, so these places are those of full answers. None: all.
        passes: how often the windows go over the list.
        initial_order: the order shown at first: `given`, `shuffled` by `seed` and query id, or `reversed`.
        prompt: see `prompts.toml`.
        parsing: `reference` or `strict`; see `rerankers.listwise.permutation`.
        passage_words: passages are cut after this many words, counted by `rerankers.text.words`.
        max_new_tokens: longest answer; None is 6 per passage and 32 more. Thoughts have `reasoning_tokens`.
    """

    @validate_call
    def __init__(
        self,
        *,
        chat: ChatOptions,
        window: Annotated[int, Field(ge=0)] = 20,
        step: Annotated[int, Field(ge=1)] = 10,
        policy: WindowPolicy = "clipped",
        top: Annotated[int, Field(ge=1)] | None = None,
        passes: Annotated[int, Field(ge=1)] = 1,
        initial_order: InitialOrder = "given",
        seed: int = 0,
        prompt: PromptName = "rankgpt",
        parsing: Parsing = "reference",
        passage_words: Annotated[int, Field(ge=1)] = 300,
        max_new_tokens: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.check_options({**dict(chat), "window": window, "step": step, "top": top, "parsing": parsing})
        self._window = window
        self._step = step
        self._policy = policy
        self._top = top
        self._passes = passes
        self._initial_order = initial_order
        self._seed = seed
        self._prompt_name = prompt
        self._prompt = load_prompt(prompt)
        self._ids = self._prompt.id_pattern if parsing == "strict" else None
        self._passage_words = passage_words
        self._max_new_tokens = max_new_tokens
        super().__init__(chat)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a step that does not fit its window, and `top` with strict parsing."""
        super().check_options(options)
        sliding_windows(0, options["window"], options["step"])
        if options["top"] is not None and options["parsing"] == "strict":
            raise InputError(
                "top ends answers early, which strict parsing cannot judge; leave one of them out"
            )

    def describe(self) -> dict[str, object]:
        """The backend as used, and where the prompt is from."""
        return {**super().describe(), "prompt": self._prompt_name, "prompt_source": self._prompt.source}

    def _talk(self, request: RerankRequest, clock: StageClock) -> Talk[Ranking]:
        """One query's conversation, window by window."""
        cost = Cost()
        with clock.stage("prompt", cost):
            words = [passage_words(candidate.text) for candidate in request.candidates]
            order = initial_order(len(words), self._initial_order, self._seed, request.query_id)
        truncated: set[int] = set()
        for start, end, places in self._windows(len(words)):
            shown = order[start:end]
            with clock.stage("prompt", cost):
                limit = self._max_new_tokens or _TOKENS_PER_ID * len(shown) + _TOKENS_AROUND
                messages, longest = self._fit(request.query, [words[i] for i in shown], limit)
                truncated.update(i for i in shown if len(words[i]) > longest)
            known = partial(is_known, count=len(shown), places=places) if self._ids is None else _never
            generated = cost.usage.generated_tokens
            answer = yield ChatCall(messages, limit, cost, known)
            with clock.stage("parse", cost):
                parsed = parse(answer.text, len(shown), self._ids)
                order[start:end] = [shown[position] for position in parsed.order]
                self._count_faults(cost.usage, parsed, answer)
                if answer.end == "known":
                    unwritten = parsed.faults.get("missing", 0)
                    per_id = (cost.usage.generated_tokens - generated) / (len(shown) - unwritten)
                    cost.usage.tokens_saved += round(unwritten * per_id)
            cost.usage.windows += 1
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(truncated)
            return Ranking.of(request, order, cost)

    def _windows(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Start and end of each window of each pass, and how many of its first places are ever read."""
        windows = sliding_windows(count, self._window, self._step, self._policy)
        for final in [False] * (self._passes - 1) + [True]:
            for (start, end), (_, next_end) in pairwise([*windows, (0, 0)]):
                # Beyond what the next window takes over, only places within the top are read in the end.
                read = max(next_end, min(self._top or end, end)) if final else end
                yield start, end, read - start

    @staticmethod
    def _count_faults(usage: Usage, parsed: Parsed, answer: ChatAnswer) -> None:
        """Count what was repaired; an answer that was ended here is missing nothing."""
        faults = {**parsed.faults}
        if answer.end == "known":
            faults.pop("missing", None)
        for kind, times in faults.items():
            usage.fault(kind, times)
        usage.well_formed += not faults
        incomplete = "missing" in parsed.faults or "malformed" in parsed.faults
        if incomplete and answer.end in ("cut_off", "refused"):
            usage.fault(answer.end)

    def _fit(self, query: str, passages: Sequence[list[str]], limit: int) -> tuple[list[Message], int]:
        """The prompt with passages as long as allowed, and how many words that is."""
        longest = self._passage_words
        while True:
            messages = self._prompt.messages(query, ["".join(words[:longest]) for words in passages])
            if longest == 1 or self._chat.fits(messages, limit):
                return messages, longest
            longest = max(1, longest * 9 // 10)


def _never(text: str) -> bool:
    return False

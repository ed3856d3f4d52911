"""RankGPT: a chat model orders windows of passages, back to front (arXiv 2304.09542, section 4).

Prompt, parsing and, under `window_policy: sliding-reference`, windows are those of the published code.
Deviations: windows are clipped at the head of the list by default (see `rerankers.listwise.windows`);
generation ends when every id has been written, after which nothing can change the ranking; passages shrink if
a window exceeds the context of a model in this process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rerankers.chat.conversation import ChatCall, ChatCompletion, Conversation, Message
from rerankers.chat.reranker import ChatReranker
from rerankers.interface import Cost, Ranking, RerankRequest, Usage
from rerankers.listwise.permutation import Parsed, is_decided, parse
from rerankers.listwise.prompts import load_prompt, passage_words
from rerankers.listwise.readers import READERS
from rerankers.listwise.windows import RunningPolicy, Window, WindowPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.methods.listwise.rankgpt import RankGPTOptions
    from rerankers.stages import StageClock


class RankGPT(ChatReranker):
    """A listwise reranker that asks a chat model to write the order of a window's passages."""

    def __init__(self, options: RankGPTOptions) -> None:
        self._options = options
        self._windows = WindowPlan(options, options.top, options.passes)
        self._prompt = load_prompt(options.prompt)
        ids = self._prompt.id_pattern if options.parsing == "strict" else None
        self._read = READERS[self._prompt.reader] if ids is None else partial(parse, ids=ids)
        self._stops_early = ids is None and self._prompt.reader == "rankgpt"
        super().__init__(options)

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the backend as used, and name and source of the prompt."""
        return {**super().describe(), "prompt": self._options.prompt, "prompt_source": self._prompt.source}

    def _conversation(self, request: RerankRequest, clock: StageClock) -> Conversation[Ranking]:
        """Rank one request by a conversation: yield each round's calls, and parse the answers."""
        cost = Cost()
        with clock.stage("prompt", cost):
            texts, truncated = self._cut(request)
            words = [passage_words(text) for text in texts]

        def call(window: Window) -> ChatCall:
            """Return the call that asks for the order of one window."""
            with clock.stage("prompt", cost):
                positions = window.positions
                limit = self._options.answer_limit(len(positions))
                messages, longest = self._fit(
                    request.query, [words[i] for i in positions], limit, window.ranks
                )
                truncated.update(i for i in positions if len(words[i]) > longest)
            if not self._stops_early:
                return ChatCall(messages, limit, cost)
            return ChatCall(
                messages, limit, cost, partial(is_decided, count=len(positions), places=window.ranks)
            )

        with clock.stage("order", cost):
            policy = RunningPolicy(self._windows.rounds(len(words), request.query_id))
        while policy.windows:
            answers = yield [call(window) for window in policy.windows]
            with clock.stage("parse", cost):
                read = zip(policy.windows, answers, strict=True)
                orders = [self._order(window, answer, cost.usage) for window, answer in read]
            with clock.stage("order", cost):
                policy.send(orders)
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(truncated)
            return Ranking.of(request, policy.order, cost)

    def _order(self, window: Window, answer: ChatCompletion, usage: Usage) -> list[int]:
        """Return the candidate positions of a window in the order that an answer gives them.

        Count its faults.
        """
        count = len(window.positions)
        parsed = self._read(answer.text, count)
        if self._prompt.selects:
            parsed = parsed.without_missing(count - window.ranks)
        self._count_faults(usage, parsed, answer)
        if answer.end == "known":
            unwritten = parsed.faults.get("missing", 0)
            usage.tokens_saved += round(unwritten * answer.tokens / (count - unwritten))
        usage.windows += 1
        return [window.positions[position] for position in parsed.order]

    @staticmethod
    def _count_faults(usage: Usage, parsed: Parsed, answer: ChatCompletion) -> None:
        """Add the faults of an answer to `usage`.

        Ids left out because the answer was stopped here are no fault.
        """
        faults = {**parsed.faults}
        if answer.end == "known":
            faults.pop("missing", None)
        for kind, times in faults.items():
            usage.fault(kind, times)
        usage.well_formed += not faults
        incomplete = "missing" in parsed.faults or "malformed" in parsed.faults
        if incomplete and answer.end in ("cut_off", "refused"):
            usage.fault(answer.end)

    def _cut(self, request: RerankRequest) -> tuple[list[str], set[int]]:
        """Return the passages, cut to tokens if the options say so, and the positions of cut ones."""
        texts = [candidate.text for candidate in request.candidates]
        if self._options.passage_tokens is None:
            return texts, set()
        clean = [self._prompt.cleaned(text) for text in texts]
        readable, is_cut = self._chat.cut_to_tokens(clean, self._options.passage_tokens)
        return readable, {i for i, cut in enumerate(is_cut) if cut}

    def _fit(
        self, query: str, passages: Sequence[list[str]], limit: int, ranks: int
    ) -> tuple[list[Message], int]:
        """Return the messages for some passages, cut to the most words at which the prompt fits.

        Args:
            query: the query's text.
            passages: words of each passage.
            limit: most tokens of the completion.
            ranks: how many passages to ask for.

        Returns:
            The messages, and the number of words after which passages were cut.
        """
        longest = self._options.passage_words
        if self._options.passage_tokens is not None:
            longest = max(1, *map(len, passages))
        while True:
            texts = ["".join(words[:longest]) for words in passages]
            messages = self._prompt.messages(query, texts, ranks=ranks)
            if longest == 1 or self._chat.fits(messages, limit):
                return messages, longest
            longest = max(1, longest * 9 // 10)

"""ICR: in-context reranking by attention (Chen et al., arXiv 2410.02642), and QRHead (arXiv 2506.09944).

A causal LM reads all passages of a window and then the query; nothing is generated. A passage scores by the
attention that the query's tokens pay to its tokens, less what a content-free query pays (section 3). ICR sums
over all heads; QRHead sums over a few retrieval heads, which is the option `heads`.

Both published codes run two passes, the second with the passages' keys and values of the first. Here both
queries follow the passages in one pass (`rerankers.llm.attention_rows`). Other deviations: texts that merge
tokens with a separator are read instead of refused, a passage that quotes another keeps its own tokens, and
windows that do not fit the context have their passages cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import ModelError
from rerankers.interface import Cost, Ranking, Reranker, RerankRequest, count_ties
from rerankers.listwise.attention_heads import find_heads
from rerankers.listwise.icr_prompt import ICRPrompt, ICRPromptWriter, find_family
from rerankers.listwise.windows import RunningPolicy, WindowPlan
from rerankers.llm.attention_rows import AttentionRows
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets
from rerankers.text.control_tokens import ControlTokens
from rerankers.text.words import split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.methods.listwise.icr import ICROptions
    from rerankers.stages import StageClock


class ICR(Reranker):
    """A listwise reranker that scores passages by the attention that the query pays to them.

    Raises:
        InputError: unknown heads or prompt.
        ModelError: the model lacks a head, or its attention cannot be read exactly.
    """

    def __init__(self, options: ICROptions) -> None:
        llm = CausalLM(options.model, revision=options.revision, device=options.device, dtype=options.dtype)
        check_offsets(llm.tokenizer)
        family = find_family(options.prompt, llm.tokenizer, options.model)
        self._described = llm.describe() | {"attention": "packed endings, of which the rows are read"}
        self._rows = AttentionRows(llm, find_heads(options.heads))
        self._writer = ICRPromptWriter(llm.tokenizer, family, options.template, options.retrieval_type)
        self._control = ControlTokens(llm.tokenizer, options.control_tokens)
        self._options = options
        self._shows_best_first = options.passage_order == "best_first"
        self._windows = WindowPlan(options, options.top)
        self._described |= {
            "prompt": family,
            "template": options.template,
            "retrieval_type": options.retrieval_type,
            "scoring": options.scoring,
            "heads": sum(map(len, self._rows.heads.values())),
            "layers_run": max(self._rows.heads) + 1,
        }
        self.device = str(llm.device)

    def rerank(self, requests: Sequence[RerankRequest], clock: StageClock) -> list[Ranking]:
        """Rank the requests one after another, each window in one forward pass."""
        return [self._rank(request, clock) for request in requests]

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the prompt, and numbers of heads and layers."""
        return self._described

    def _rank(self, request: RerankRequest, clock: StageClock) -> Ranking:
        """Rank one request: score the passages of its windows, round by round, until the policy is done."""
        cost = Cost()
        with clock.stage("prompt", cost):
            words = [split_words(candidate.text) for candidate in request.candidates]
        with clock.stage("order", cost):
            policy = RunningPolicy(self._windows.rounds(len(words), request.query_id))
        cut: set[int] = set()
        scores: dict[int, float] = {}
        while policy.windows:
            orders = []
            for window in policy.windows:
                positions = window.positions if self._shows_best_first else window.positions[::-1]
                with clock.stage("prompt", cost):
                    texts = [request.candidates[i].text for i in positions]
                    prompt, longest = self._fit(request.query, texts, [words[i] for i in positions], cost)
                    cut.update(i for i in positions if len(words[i]) > longest)
                with clock.stage("forward", cost):
                    scores |= zip(positions, self._score(prompt), strict=True)
                with clock.stage("order", cost):
                    # Ties keep the order so far.
                    orders.append(sorted(window.positions, key=lambda i: -scores[i]))
                    cost.usage.ties = count_ties([scores[i] for i in orders[-1]])  # the last is the head
                self._count(prompt, cost)
            cost.usage.sequential_calls += 1
            with clock.stage("order", cost):
                policy.send(orders)
        with clock.stage("order", cost):
            cost.usage.passages_truncated = len(cut)
            # Scores of several windows come from different prompts, and do not compare.
            is_one = cost.usage.windows == 1 and len(scores) == len(words)
            comparable = [scores[i] for i in range(len(words))] if is_one else None
            return Ranking.of(request, policy.order, cost, comparable)

    def _fit(
        self, query: str, texts: Sequence[str], words: Sequence[list[str]], cost: Cost
    ) -> tuple[ICRPrompt, int]:
        """Return a window's prompt, its passages cut to fit the context, and their longest length in words.

        Texts that are short enough are shown as they are, white space included.

        Args:
            query: the query's text.
            texts: of the passages, in the order shown.
            words: of each passage.
            cost: takes the number of control tokens.
        """
        longest, context = self._options.passage_words, self._rows.context
        [query], in_query = self._control.read([query])
        queries = (
            [query, self._options.calibration_query]
            if self._options.scoring == "masked_NA_calibration"
            else [query]
        )
        if self._options.scoring == "NA_only":
            queries = [self._options.calibration_query]
        while True:
            cut_texts = [
                text if len(each) <= longest else "".join(each[:longest])
                for text, each in zip(texts, words, strict=True)
            ]
            readable, in_passages = self._control.read(cut_texts)
            prompt = self._writer.write(queries, readable)
            if context is None or len(prompt.beginning) + max(map(len, prompt.endings)) <= context:
                cost.usage.control_tokens += sum(in_query) + sum(in_passages)
                return prompt, longest
            if longest == 1:
                raise ModelError(
                    f"{len(texts)} passages and the query exceed the context of {context} tokens. Set window."
                )
            longest = max(1, longest * 9 // 10)

    def _score(self, prompt: ICRPrompt) -> list[float]:
        """Return the score of each passage of a prompt, in the order shown, from one forward pass."""
        weights = self._rows.read(
            prompt.beginning, prompt.endings, last_token_only=self._options.scoring == "attention_sorting"
        )
        if self._options.scoring == "masked_NA_calibration":
            return calibrated_scores(weights[0] - weights[1], prompt.passages)
        return [float(weights[0, start:end].sum()) for start, end in prompt.passages]

    def _count(self, prompt: ICRPrompt, cost: Cost) -> None:
        """Add one window's call and tokens to the cost."""
        cost.usage.windows += 1
        cost.usage.llm_calls += 1
        cost.usage.prompt_tokens += sum(len(prompt.beginning) + len(ending) for ending in prompt.endings)
        cost.usage.cached_tokens += len(prompt.beginning) * (len(prompt.endings) - 1)


def calibrated_scores(difference: torch.Tensor, passages: Sequence[tuple[int, int]]) -> list[float]:
    """Return each passage's score: the sum of its tokens' attention, tokens far below its mean left out.

    Tokens of a passage count if they lie above its mean less two standard deviations (with n - 1). A passage
    of one token has no standard deviation and scores 0, as in the published code.

    Args:
        difference: attention of the query less that of the content-free query, (tokens,).
        passages: (start, end) of each passage's tokens.
    """
    scores = []
    for start, end in passages:
        tokens = difference[start:end]
        if end - start < 2:
            scores.append(0.0)
            continue
        is_counted = tokens > tokens.mean() - 2 * tokens.std()
        scores.append(float((tokens * is_counted).sum()))
    return scores

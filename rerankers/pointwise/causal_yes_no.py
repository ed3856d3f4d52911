"""A causal LM asked whether a passage answers the query: the score is the log-probability of `yes`.

Qwen3-Reranker (arXiv 2506.05176), mxbai-rerank-v2 and BGE's decoder-only rerankers (arXiv 2312.15503) are
trained to answer so; any instruction-tuned model can be asked (arXiv 2211.09110). Prompt templates put the
query before the passage, so everything up to the passage is prefilled once per query. They are data:
`rerankers/pointwise/prompts.toml`; `rerankers.pointwise.yes_no_tokens` turns them into tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerankers.errors import ModelError
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets, log_probability, read_only, score_ends
from rerankers.models.batching import resolve_batch_tokens
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.yes_no_tokens import prompt_tokens
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from rerankers.methods.pointwise.causal_yes_no import CausalYesNoOptions

Prompts = list[tuple[tuple[str, str | None], list[int]]]
"""Each pair's query and instruction, by which prompts share their beginning, and its token ids."""


class CausalYesNo(PointwiseReranker[Prompts]):
    """A reranker that scores passages by how likely a causal LM answers `yes` rather than `no`.

    The template chooses the score: log P(yes) with P over the two answers, the difference of their logits, or
    the logit of yes alone.

    Raises:
        InputError: no such prompt, an option that it does not use, or a prompt for chat models with a model
            that has no chat template.
        ModelError: the model does not load, thinks before it answers, or begins both answers with one token.
    """

    def __init__(self, options: CausalYesNoOptions) -> None:
        template = options.template
        self._llm = CausalLM.of(options, decodes=False)
        check_offsets(self._llm.tokenizer)
        self._tokens = prompt_tokens(
            template,
            self._llm,
            options.model,
            instruction=options.instruction,
            max_passage_tokens=options.max_passage_tokens,
            max_prompt_tokens=options.max_prompt_tokens,
            variables=options.template_variables,
        )
        words = [template.yes] if template.no is None else [template.yes, template.no]
        # Both look at the whole vocabulary, so they come before its projection is cut to the answers.
        exactness = self._llm.exactness.describe("pads", "shares", "packs")
        self._described = {**self._llm.describe(), **exactness}
        read_only(self._llm.model, self._first_tokens(words))
        self._options = options
        self._of_answers = _difference if template.score == "logit_difference" else _of_yes
        self.control = ControlTokens(self._llm.tokenizer, options.control_tokens)
        self._batch_tokens = resolve_batch_tokens(options.batch_tokens, self._llm.device)
        self.device = str(self._llm.device)

    def _first_tokens(self, words: list[str]) -> list[int]:
        """Return the id of the first token of each answer word.

        Raises:
            ModelError: two words begin with the same token.
        """
        ids = self._llm.tokenizer(words, add_special_tokens=False)["input_ids"]
        first = [row[0] for row in ids]
        if len(set(first)) < len(first):
            raise ModelError(f"this model begins {' and '.join(words)} with one token; choose another prompt")
        return first

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Prompts]:
        """Return the prompt of each pair as token ids, together with its query and instruction."""
        rows, truncated = self._tokens.write(pairs)
        prompts = [((pair.query, pair.instruction), row) for pair, row in zip(pairs, rows, strict=True)]
        return Tokenized(prompts, [len(row) for row in rows], truncated, [tuple(row) for row in rows])

    def score(self, tokenized: Tokenized[Prompts]) -> list[float]:
        """Return the score of each prompt: the log-probability of yes (natural logarithm), or as the template
        says.

        The prompts of one query are read together and share their prefix.
        """
        scores = [0.0] * len(tokenized.inputs)
        by_query: dict[tuple[str, str | None], list[int]] = {}
        for i, (query, _) in enumerate(tokenized.inputs):
            by_query.setdefault(query, []).append(i)
        for positions in by_query.values():
            prompts = [tokenized.inputs[i][1] for i in positions]
            query_scores = score_ends(
                self._llm, prompts, [1] * len(prompts), self._batch_tokens, self._of_answers
            )
            for position, score in zip(positions, query_scores, strict=True):
                scores[position] = score
        return scores

    def describe(self) -> dict[str, object]:
        """Return the record's entry: the model as loaded, the prompt template, the instruction and
        the limits.
        """
        return {
            **self._described,
            **self._tokens.describe(),
            "prompt": self._options.prompt,
            "control_tokens": self._options.control_tokens,
            "batch_tokens": self._batch_tokens,
        }


def _of_yes(_: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return the score of yes for each row, (rows,), from the answers' logits, (rows, 1, answers), yes first.

    With two answers it is the log-probability of yes between them, with one its logit.
    """
    answers = logits[:, -1]
    return answers[:, 0] if answers.shape[1] == 1 else log_probability(answers[:, 0], answers[:, 1])


def _difference(_: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return the logit of yes minus that of no for each row, (rows,), from logits (rows, 1, 2)."""
    return logits[:, -1, 0].float() - logits[:, -1, 1].float()

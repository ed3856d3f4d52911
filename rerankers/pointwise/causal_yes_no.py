"""A causal LM asked whether a passage answers the query: the log-probability of `yes`.

Qwen3-Reranker (arXiv 2506.05176) and BGE's decoder-only rerankers (arXiv 2312.15503) are trained to answer
so; any instruction-tuned model can be asked (arXiv 2211.09110). Wordings put the query before the passage, so
everything up to the passage is read once per query. They are data: `rerankers/pointwise/prompts.toml`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.errors import ModelError
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets, cut_to_tokens, log_probability, read_only, score_ends
from rerankers.models.batching import BatchTokens, resolve_batch_tokens
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.prompts import Framed, YesNoPrompt, fill, prompt_named, refuse_idle_variables
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

Prompts = list[tuple[str, list[int]]]
"""Each pair's query, by which prompts share their beginning, and its token ids."""


class CausalYesNo(PointwiseReranker[Prompts]):
    """Ranks by log P(yes) with P over the two answers, or by the logit of yes where there is no `no`.

    Args:
        model: causal LM; hub id, folder or wheel, see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        prompt: name of a wording in `pointwise_prompts.toml`; a trained reranker needs its own.
        max_passage_tokens: a passage is cut after this many tokens.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        batch_tokens: tokens in one forward pass, padding included, a query's shared beginning not counted.
        device, dtype, attention: as everywhere; see `rerankers.models.devices`.
        template_variables: the chat template's own variables, such as `{enable_thinking: false}`.

    Raises:
        InputError: no such prompt, or one for chat models with a model that has no chat template.
        ModelError: the model does not load, thinks before it answers, or begins both answers with one token.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        prompt: str,
        revision: str | None = None,
        max_passage_tokens: Annotated[int, Field(ge=1)] = 1024,
        control_tokens: ControlTokenMode = "text",
        batch_tokens: BatchTokens = "auto",
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
        template_variables: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        wording = prompt_named(YesNoPrompt, prompt)
        self._llm = CausalLM(model, revision=revision, device=device, dtype=dtype, attention=attention)
        check_offsets(self._llm.tokenizer)
        self._frame = Framed(wording, self._llm.tokenizer, model, template_variables)
        words = [wording.yes] if wording.no is None else [wording.yes, wording.no]
        # Both look at the whole vocabulary, so they come before its projection is cut to the answers.
        self._described = {**self._llm.describe(), **self._llm.exactness.describe("pads", "shares")}
        read_only(self._llm.model, self._first_tokens(words))
        self._prompt = prompt
        self.control = ControlTokens(self._llm.tokenizer, control_tokens)
        self._control_tokens = control_tokens
        self._max_passage_tokens = max_passage_tokens
        self._batch_tokens = resolve_batch_tokens(batch_tokens, self._llm.device)
        self.device = str(self._llm.device)

    def _first_tokens(self, words: list[str]) -> list[int]:
        ids = self._llm.tokenizer(words, add_special_tokens=False)["input_ids"]
        first = [row[0] for row in ids]
        if len(set(first)) < len(first):
            raise ModelError(f"this model begins {' and '.join(words)} with one token; choose another prompt")
        return first

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse an unknown prompt, and chat template variables for a prompt that uses none."""
        refuse_idle_variables(prompt_named(YesNoPrompt, options["prompt"]), options["template_variables"])

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Prompts]:
        """Tokenise each prompt as one text."""
        tokenizer = self._llm.tokenizer
        passages, truncated = cut_to_tokens(tokenizer, [text for _, text in pairs], self._max_passage_tokens)
        texts = [
            fill(self._frame.text, query, text) for (query, _), text in zip(pairs, passages, strict=True)
        ]
        ids = tokenizer(texts, add_special_tokens=self._frame.needs_special_tokens, verbose=False)[
            "input_ids"
        ]
        prompts = [(query, row) for (query, _), row in zip(pairs, ids, strict=True)]
        return Tokenized(prompts, [len(row) for row in ids], truncated, [tuple(row) for row in ids])

    def score(self, tokenized: Tokenized[Prompts]) -> list[float]:
        """Log-probability of yes, natural logarithm; or its logit."""
        scores = [0.0] * len(tokenized.inputs)
        by_query: dict[str, list[int]] = {}
        for i, (query, _) in enumerate(tokenized.inputs):
            by_query.setdefault(query, []).append(i)
        for asked in by_query.values():
            prompts = [tokenized.inputs[i][1] for i in asked]
            found = score_ends(self._llm, prompts, [1] * len(prompts), self._batch_tokens, _of_yes)
            for position, score in zip(asked, found, strict=True):
                scores[position] = score
        return scores

    def describe(self) -> dict[str, object]:
        """The model as loaded, the wording, and the limits."""
        return {
            **self._described,
            **self._frame.describe(),
            "prompt": self._prompt,
            "max_passage_tokens": self._max_passage_tokens,
            "control_tokens": self._control_tokens,
            "batch_tokens": self._batch_tokens,
        }


def _of_yes(_: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return (rows,) from logits (rows, 1, answers), of which the first is yes."""
    answers = logits[:, -1]
    return answers[:, 0] if answers.shape[1] == 1 else log_probability(answers[:, 0], answers[:, 1])

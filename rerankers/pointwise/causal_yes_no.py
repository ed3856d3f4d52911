"""A causal LM asked whether a passage answers the query: the log-probability of `yes`.

Qwen3-Reranker (arXiv 2506.05176), mxbai-rerank-v2 and BGE's decoder-only rerankers (arXiv 2312.15503) are
trained to answer so; any instruction-tuned model can be asked (arXiv 2211.09110). Prompt templates put the
query before the passage, so everything up to the passage is prefilled once per query. They are data:
`rerankers/pointwise/prompts.toml`; `rerankers.pointwise.yes_no_tokens` turns them into tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, validate_call

from rerankers.errors import InputError, ModelError
from rerankers.llm.adapter import loaded_models
from rerankers.llm.causal import CausalLM
from rerankers.llm.readout import check_offsets, log_probability, read_only, score_ends
from rerankers.models.batching import BatchTokens, resolve_batch_tokens
from rerankers.models.devices import AttentionName, DtypeName
from rerankers.pointwise.base import Pair, PointwiseReranker, Tokenized
from rerankers.pointwise.prompts import YesNoPrompt, refuse_idle_variables, yes_no_prompt
from rerankers.pointwise.yes_no_tokens import prompt_tokens
from rerankers.text.control_tokens import ControlTokenMode, ControlTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from rerankers.interface import Capabilities
    from rerankers.pointwise.prompts import AnyYesNoPrompt

Prompts = list[tuple[tuple[str, str | None], list[int]]]
"""Each pair's query and instruction, by which prompts share their beginning, and its token ids."""


class CausalYesNo(PointwiseReranker[Prompts]):
    """Ranks by log P(yes) with P over the two answers, by the difference of both logits, or by that of yes.

    Args:
        model: causal LM; hub id, folder or wheel, see `rerankers.models.locate`.
        revision: hub revision (branch, tag or commit).
        prompt: name of a prompt template in `prompts.toml`; a trained reranker needs its own.
        instruction: what the passages are to be judged by, for Qwen3-Reranker and mxbai-rerank-v2. It comes
            before the dataset's instruction, and that before the template's own.
        max_passage_tokens: a passage is cut after this many tokens; by default 1,024, and for templates that
            limit the prompt none.
        max_prompt_tokens: the longest prompt, of templates that limit it; by default 8,192 as published.
            Qwen3-Reranker's ends are then cut off, its suffix never; mxbai counts query and passage alone.
        control_tokens: how control tokens in queries and passages are read; see
            `rerankers.text.control_tokens`.
        batch_tokens: tokens in one forward pass, padding included, a query's shared beginning not counted.
        device, dtype, attention: as everywhere; see `rerankers.models.devices`.
        template_variables: the chat template's own variables, such as `{enable_thinking: false}`.

    Raises:
        InputError: no such prompt, an option that it does not use, or a prompt for chat models with a model
            that has no chat template.
        ModelError: the model does not load, thinks before it answers, or begins both answers with one token.
    """

    @validate_call
    def __init__(
        self,
        *,
        model: str,
        prompt: str,
        revision: str | None = None,
        instruction: str | None = None,
        max_passage_tokens: Annotated[int, Field(ge=1)] | None = None,
        max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None,
        control_tokens: ControlTokenMode = "text",
        batch_tokens: BatchTokens = "auto",
        device: str = "auto",
        dtype: DtypeName = "auto",
        attention: AttentionName = "auto",
        template_variables: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> None:
        template = yes_no_prompt(prompt)
        _refuse_idle(template, instruction, max_prompt_tokens, template_variables)
        self._llm = CausalLM(model, revision=revision, device=device, dtype=dtype, attention=attention)
        check_offsets(self._llm.tokenizer)
        self._tokens = prompt_tokens(
            template,
            self._llm,
            model,
            instruction=instruction,
            max_passage_tokens=max_passage_tokens,
            max_prompt_tokens=max_prompt_tokens,
            variables=template_variables,
        )
        words = [template.yes] if template.no is None else [template.yes, template.no]
        # Both look at the whole vocabulary, so they come before its projection is cut to the answers.
        exactness = self._llm.exactness.describe("pads", "shares", "packs")
        self._described = {**self._llm.describe(), **exactness}
        read_only(self._llm.model, self._first_tokens(words))
        self._prompt = prompt
        self._of_answers = _difference if template.score == "logit_difference" else _of_yes
        self.control = ControlTokens(self._llm.tokenizer, control_tokens)
        self._control_tokens = control_tokens
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
        """Refuse an unknown prompt, and options that it does not use."""
        _refuse_idle(
            yes_no_prompt(options["prompt"]),
            options["instruction"],
            options["max_prompt_tokens"],
            options["template_variables"],
        )

    @classmethod
    def capabilities(cls, options: Mapping[str, Any]) -> Capabilities:
        """Tell which models are loaded, and whether a dataset's instruction is read."""
        reads = options["instruction"] is None and not isinstance(
            yes_no_prompt(options["prompt"]), YesNoPrompt
        )
        models = loaded_models(options["model"], options["revision"])
        return replace(super().capabilities(options), models=models, reads_instruction=reads)

    def tokenize(self, pairs: Sequence[Pair]) -> Tokenized[Prompts]:
        """Write each prompt in token ids."""
        rows, truncated = self._tokens.write(pairs)
        prompts = [((pair.query, pair.instruction), row) for pair, row in zip(pairs, rows, strict=True)]
        return Tokenized(prompts, [len(row) for row in rows], truncated, [tuple(row) for row in rows])

    def score(self, tokenized: Tokenized[Prompts]) -> list[float]:
        """Log-probability of yes, natural logarithm; or a logit, or a difference of two."""
        scores = [0.0] * len(tokenized.inputs)
        by_query: dict[tuple[str, str | None], list[int]] = {}
        for i, (query, _) in enumerate(tokenized.inputs):
            by_query.setdefault(query, []).append(i)
        for asked in by_query.values():
            prompts = [tokenized.inputs[i][1] for i in asked]
            found = score_ends(self._llm, prompts, [1] * len(prompts), self._batch_tokens, self._of_answers)
            for position, score in zip(asked, found, strict=True):
                scores[position] = score
        return scores

    def describe(self) -> dict[str, object]:
        """Return the model as loaded, the prompt template, the instruction and the limits."""
        return {
            **self._described,
            **self._tokens.describe(),
            "prompt": self._prompt,
            "control_tokens": self._control_tokens,
            "batch_tokens": self._batch_tokens,
        }


def _refuse_idle(
    template: AnyYesNoPrompt,
    instruction: str | None,
    max_prompt_tokens: int | None,
    variables: Mapping[str, Any],
) -> None:
    """Refuse options that a prompt template does not use.

    Raises:
        InputError: one is set.
    """
    refuse_idle_variables(template, variables)
    if not isinstance(template, YesNoPrompt):
        return
    idle = {"instruction": instruction, "max_prompt_tokens": max_prompt_tokens}
    for name, value in idle.items():
        if value is not None:
            raise InputError(f"{name}: this prompt has none. Leave it out, or choose another prompt.")


def _of_yes(_: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return (rows,) from logits (rows, 1, answers), of which the first is yes."""
    answers = logits[:, -1]
    return answers[:, 0] if answers.shape[1] == 1 else log_probability(answers[:, 0], answers[:, 1])


def _difference(_: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Return the logit of yes less that of no, (rows,), from logits (rows, 1, 2)."""
    return logits[:, -1, 0].float() - logits[:, -1, 1].float()

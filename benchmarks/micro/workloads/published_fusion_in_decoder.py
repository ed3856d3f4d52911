"""Fusion in decoder the way the published codes work, as the baseline that the benchmark compares with.

Written from what the codes do (`castorini/LiT5`, `soyoung97/ListT5`): every prompt is padded to its limit,
the encoder reads the prompts of a window, and transformers' `generate` writes the whole answer. LiT5 does so
for one window after the other; ListT5 for all groups of the first stage at once, and then for one group after
the other. No state of a prompt is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from rerankers.listwise.fusion_in_decoder.tournament import tournament
from rerankers.listwise.permutation import parse
from rerankers.listwise.windows import RunningPolicy
from rerankers.methods.listwise.lit5 import PROMPT

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class PublishedFusion:
    """A T5 of transformers that answers windows of prompts.

    Attributes:
        max_prompt_tokens: every prompt is cut and padded to so many tokens.
        max_length: of an answer, the start token included.
        steps: decoder steps taken so far.
    """

    model: Any
    tokenizer: Any
    max_prompt_tokens: int
    max_length: int
    steps: int = 0

    @torch.inference_mode()
    def answers(self, windows: Sequence[Sequence[str]]) -> list[str]:
        """Return the answers of windows of equally many prompts, computed in one batch."""
        from transformers.modeling_outputs import BaseModelOutput

        prompts = [prompt for window in windows for prompt in window]
        read = self.tokenizer(
            prompts,
            max_length=self.max_prompt_tokens,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        states = self.model.encoder(
            input_ids=read["input_ids"], attention_mask=read["attention_mask"]
        ).last_hidden_state  # (prompts, limit, d_model)
        written = self.model.generate(
            encoder_outputs=BaseModelOutput(states.view(len(windows), -1, states.shape[-1])),
            attention_mask=read["attention_mask"].view(len(windows), -1),
            max_length=self.max_length,
            do_sample=False,
            num_beams=1,
        )
        self.steps += written.shape[1] - 1
        answers: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return answers


def lit5_order(fusion: PublishedFusion, query: str, passages: Sequence[str]) -> list[int]:
    """Return the order of windows of 20 by 10, back to front."""
    order = list(range(len(passages)))
    for start in range(len(order) - 20, -1, -10):
        shown = order[start : start + 20]
        prompts = [
            PROMPT.format(query=query, number=number, passage=passages[i])
            for number, i in enumerate(shown, 1)
        ]
        [answer] = fusion.answers([prompts])
        order[start : start + 20] = [shown[i] for i in parse(answer, 20).order]
    return order


def listt5_order(fusion: PublishedFusion, query: str, passages: Sequence[str]) -> list[int]:
    """Return the order of tournaments of five with two winners, ten ranks settled."""
    policy = RunningPolicy(tournament(len(passages), 5, 2, 10, 21))
    is_first = True
    while windows := policy.windows:
        prompts = [
            [
                f"Query: {query}, Index: {number}, Context: {passages[i].strip()}"
                for number, i in enumerate(window.positions, 1)
            ]
            for window in windows
        ]
        answers = fusion.answers(prompts) if is_first else [fusion.answers([each])[0] for each in prompts]
        numbers = [[int(word) for word in answer.split(" ")[-2:]] for answer in answers]
        policy.send(
            [[window.positions[n - 1] for n in last] for window, last in zip(windows, numbers, strict=True)]
        )
        is_first = False
    return list(policy.order)

"""Lets a doc2query-style T5 write questions about passages (docTTTTTquery, Nogueira and Lin, 2019).

Tokens are drawn from the k most probable ones. The draws come from a generator of each question, seeded by
the distillation's seed, the passage and the question's number, and not from the batch: so a question does not
depend on the passages beside it, and a resumed run writes what an uninterrupted one writes. Drawing is done
by the Gumbel maximum: the largest of log-probability plus Gumbel noise is distributed as a draw.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from benchmarks.training_data.queries.writers import Question, QuestionWriter
from rerankers.llm.readout import check_offsets, cut_to_tokens
from rerankers.llm.seq2seq import load_seq2seq
from rerankers.text.control_tokens import ControlTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.training_data.queries.settings import Seq2SeqQuestions


class Seq2SeqWriter(QuestionWriter):
    """A question writer that runs a sequence-to-sequence model in this process.

    Args:
        source: its settings.
        seed: seed of the draws.

    Raises:
        ModelError: the model does not load.
    """

    def __init__(self, source: Seq2SeqQuestions, seed: int) -> None:
        loaded = load_seq2seq(
            source.model, revision=source.revision, device=source.device, dtype=source.dtype
        )
        self._tokenizer, self._model = loaded.tokenizer, loaded.network
        check_offsets(self._tokenizer)
        self._control = ControlTokens(self._tokenizer, source.control_tokens)
        self._source, self._seed = source, seed
        self.batch = source.batch
        self._described = loaded.described

    @torch.inference_mode()
    def write(self, passages: Sequence[tuple[str, str]]) -> list[list[Question]]:
        """Return `per_passage` questions about each passage, (doc id, text), generated in one batch."""
        texts, _ = self._control.read([text for _, text in passages])
        texts, _ = cut_to_tokens(self._tokenizer, texts, self._source.max_passage_tokens)
        rows = [
            (index, number) for index in range(len(passages)) for number in range(self._source.per_passage)
        ]
        inputs = self._tokenizer(
            [f"{self._source.prefix}{texts[index]}" for index, _ in rows],
            padding=True,
            return_tensors="pt",
            verbose=False,
        ).to(self._model.device)
        generators = [_generator(self._seed, passages[index][0], number) for index, number in rows]
        written = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=self._source.max_new_tokens,
            do_sample=False,
            num_beams=1,
            logits_processor=LogitsProcessorList([GumbelDraws(self._source.top_k, generators)]),
        )
        questions: list[list[Question]] = [[] for _ in passages]
        for (index, _), row in zip(rows, written.tolist(), strict=True):
            questions[index].append(self._question(row))
        return questions

    def _question(self, row: list[int]) -> Question:
        """Decode generated token ids into a question; one without an end token has the fault `cut_off`."""
        text = self._tokenizer.decode(row, skip_special_tokens=True).strip()
        ends = self._model.generation_config.eos_token_id
        is_whole = any(token in (ends if isinstance(ends, list) else [ends]) for token in row[1:])
        return Question(text, None if is_whole else "cut_off")

    def describe(self) -> dict[str, object]:
        """Return the model's name, revision or fingerprint, architecture and dtype."""
        return {
            **{name: self._described[name] for name in ("model", "revision", "dtype")},
            "architecture": type(self._model).__name__,
        }


class GumbelDraws(LogitsProcessor):
    """A logits processor that makes the greedy choice of `generate` a random draw from the top k tokens.

    It adds Gumbel noise from one generator per row.
    """

    def __init__(self, top_k: int, generators: Sequence[torch.Generator]) -> None:
        self._top_k, self._generators = top_k, generators

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return scores, (rows, vocabulary), with noise on the k largest of each row and -inf elsewhere."""
        if self._top_k == 1:
            return scores
        top = scores.float().topk(min(self._top_k, scores.shape[-1]), dim=-1)  # (rows, k)
        noise = torch.stack(
            [torch.rand(top.values.shape[-1], generator=generator) for generator in self._generators]
        )
        gumbel = -(-noise.clamp(1e-9, 1 - 1e-7).log()).log()
        impossible = torch.full_like(scores, -torch.inf, dtype=torch.float32)
        return cast(
            "torch.FloatTensor",
            impossible.scatter(-1, top.indices, top.values + gumbel.to(scores.device)),
        )


def _generator(seed: int, doc_id: str, number: int) -> torch.Generator:
    """Return the random generator of one question, seeded by seed, passage and question number."""
    digest = hashlib.sha256(f"{seed}:{doc_id}:{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

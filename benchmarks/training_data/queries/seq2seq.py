"""Lets a doc2query-style T5 write questions about passages (docTTTTTquery, Nogueira and Lin, 2019).

Tokens are drawn from the k most probable ones. The draws come from a generator of each question, seeded by
the distillation's seed, the passage and the question's number, and not from the batch: so a question does not
depend on the passages beside it, and a resumed run writes what an uninterrupted one writes. Drawing is done
by the Gumbel maximum: the largest of log-probability plus Gumbel noise is distributed as a draw.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AutoModelForSeq2SeqLM, LogitsProcessor, LogitsProcessorList

from benchmarks.training_data.queries.writers import Question, QuestionWriter
from rerankers.llm.readout import check_offsets, cut_to_tokens
from rerankers.models.devices import resolve_device, resolve_dtype
from rerankers.models.folder import check_hub_model
from rerankers.models.loading_report import load_complete, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.vocabulary import check_rows, load_tokenizer
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
        files = find_model(source.model, source.revision)
        device = resolve_device(source.device)
        with loading("sequence-to-sequence model", source.model):
            check_hub_model(files)
            refuse_adapter(files)
            self._tokenizer: Any = load_tokenizer(files)
            load = partial(
                AutoModelForSeq2SeqLM.from_pretrained,
                files.location,
                revision=files.revision or "main",
                trust_remote_code=False,
                dtype=resolve_dtype(source.dtype, device),
            )
            network: Any = load_complete(source.model, load)
            check_rows(source.model, self._tokenizer, network)
            check_offsets(self._tokenizer)
        self._model = network.to(device).eval().requires_grad_(False)
        self._control = ControlTokens(self._tokenizer, source.control_tokens)
        self._source, self._seed = source, seed
        self.batch = source.batch
        self._model_revision = getattr(network.config, "_commit_hash", None) or files.fingerprint

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
            "model": self._source.model,
            "revision": self._model_revision,
            "architecture": type(self._model).__name__,
            "dtype": str(self._model.dtype).removeprefix("torch."),
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

"""An embedding model made of a decoder: a passage's vector is the hidden state of its last token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from rerankers.encoders.limits import TEXTS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerankers.llm.hidden import HiddenLM
    from rerankers.text.control_tokens import ControlTokens


class LastTokenEncoder:
    """An encoder whose vectors, of length one, are the last token's hidden state behind the last norm.

    Args:
        llm: the decoder.
        end: id of the token that is appended to every passage.
        prepare: returns the text to tokenise for a passage, and whether it was cut.
        max_length: longest passage in tokens, its end included.
        control: how control tokens in passages are read.
        batch_tokens: tokens in one forward pass, padding included.
        settings: further settings that a vector depends on, for the record and the store.

    Attributes:
        dimension: length of a vector.
        device: the device of weights and vectors.
    """

    def __init__(
        self,
        llm: HiddenLM,
        *,
        end: int,
        prepare: Callable[[str], tuple[str, bool]],
        max_length: int,
        control: ControlTokens,
        batch_tokens: int,
        settings: Mapping[str, object],
    ) -> None:
        self._llm, self._end, self._prepare, self._control = llm, end, prepare, control
        self._max_length, self._batch_tokens = max_length, batch_tokens
        self._settings = dict(settings)
        self.device = llm.device
        self.dimension: int = llm.decoder.config.get_text_config().hidden_size

    def encode_and_cut(self, texts: Sequence[str]) -> tuple[torch.Tensor, list[int]]:
        """Return the embeddings of texts, (len(texts), dimension) float32 on `device`, and the positions of
        cut texts.

        Texts with equal token ids get equal rows to the last bit.
        """
        row_of: dict[tuple[int, ...], int] = {}
        rows, cut = [], []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            for ids, is_cut in self._token_ids(texts[start : start + TEXTS_AT_ONCE]):
                rows.append(row_of.setdefault(ids, len(row_of)))
                cut.append(is_cut)
        if not rows:
            return torch.zeros(0, self.dimension, device=self.device), []
        prompts = list(row_of)
        read = self._llm.read(prompts, [[len(ids) - 1] for ids in prompts], self._batch_tokens)
        vectors = F.normalize(torch.cat(read.states), dim=-1)
        return vectors[torch.tensor(rows, device=self.device)], [i for i, is_cut in enumerate(cut) if is_cut]

    def count_control_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of control tokens in each text."""
        return self._control.read(texts)[1]

    def describe(self) -> dict[str, object]:
        """Return the record's entry: model, pooling and limits. Embedding stores are named by its digest."""
        model: dict[str, Any] = {
            key: value for key, value in self._llm.describe().items() if key not in ("device", "parameters")
        }
        return {
            **model,
            **self._settings,
            "pooling": "last_token",
            "dimension": self.dimension,
            "max_length": self._max_length,
            "similarity": "cosine",
            "control_tokens": self._control.mode,
        }

    def _token_ids(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], bool]]:
        """Return the token ids of each text with the end token behind them, and whether the text was cut."""
        prepared = [self._prepare(text) for text in texts]
        readable, _ = self._control.read([text for text, _ in prepared])
        encoded = self._llm.tokenizer(readable, add_special_tokens=False, verbose=False)["input_ids"]
        longest = self._max_length - 1
        return [
            ((*ids[:longest], self._end), is_cut or len(ids) > longest)
            for ids, (_, is_cut) in zip(encoded, prepared, strict=True)
        ]

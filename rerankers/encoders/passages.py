"""Passage embeddings, from the encoder or from a store that it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from rerankers.encoders.transfer import to_device
from rerankers.interface import Reranker, Usage
from rerankers.progress import Activity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerankers.encoders.store import EmbeddingStore
    from rerankers.interface import RerankRequest

_STORED_AT_ONCE = 1024  # passages, between two writes into the store


class PassageEncoder(Protocol):
    """A maker of passage vectors, such as `rerankers.encoders.encoder.Encoder`."""

    device: torch.device

    def encode_and_cut(self, texts: Sequence[str], /) -> tuple[torch.Tensor, list[int]]:
        """Return the embeddings of texts, (len(texts), dimension) float32 on `device`, and the positions of
        cut texts.
        """

    def count_control_tokens(self, texts: Sequence[str], /) -> list[int]:
        """Return the number of control tokens in each text."""


class PassageEmbedder:
    """A source of passage vectors: the store, and the encoder for texts that the store lacks.

    Args:
        encoder: embeds the texts that are not in the store.
        store: read first, and filled with new vectors; None embeds everything.
    """

    def __init__(self, encoder: PassageEncoder, store: EmbeddingStore | None) -> None:
        self.encoder = encoder
        self.store = store

    def vectors(self, texts: Sequence[str], usages: Sequence[Usage]) -> torch.Tensor:
        """Return the embeddings of texts, (len(texts), dimension) float32 on the encoder's device.

        Args:
            texts: all different.
            usages: for each text the counts that it is added to: embedded or stored, cut, control tokens.
        """
        if self.store is None:
            embedded = list(range(len(texts)))
            vectors, cut_rows = self.encoder.encode_and_cut(texts)
        else:
            held, is_stored = self.store.get(texts)
            embedded = [row for row in range(len(texts)) if not is_stored[row]]
            missing, cut_rows = self.encoder.encode_and_cut([texts[row] for row in embedded])
            if embedded:
                held[embedded] = missing.cpu().numpy()
                self.store.put([texts[row] for row in embedded], held[embedded])
            vectors = to_device(torch.from_numpy(held), self.encoder.device)
            for row in range(len(texts)):
                usages[row].passages_from_store += bool(is_stored[row])
        counts = self.encoder.count_control_tokens([texts[row] for row in embedded])
        for row, count in zip(embedded, counts, strict=True):
            usages[row].passages_embedded += 1
            usages[row].control_tokens += count
        for row in cut_rows:
            usages[embedded[row]].passages_truncated += 1
        return vectors

    @property
    def stores(self) -> tuple[EmbeddingStore, ...]:
        """The store in a tuple; an empty one without a store."""
        return () if self.store is None else (self.store,)

    def fill_store(self, requests: Sequence[RerankRequest]) -> None:
        """Embed the passages of all candidates into the store; do nothing without a store."""
        if self.store is not None:
            passages = dict.fromkeys(each.text for request in requests for each in request.candidates)
            texts = sorted(passages, key=len, reverse=True)  # those of like lengths share batches
            with Activity("embedding passages", len(texts)) as progress:
                for start in range(0, len(texts), _STORED_AT_ONCE):
                    some = texts[start : start + _STORED_AT_ONCE]
                    self.vectors(some, [Usage()] * len(some))
                    progress.advance(len(some))


class EmbeddingPassages(Reranker):
    """The base of rerankers that embed passages, or take their vectors from a store filled before."""

    _embedder: PassageEmbedder

    def stores(self) -> Sequence[EmbeddingStore]:
        """Return the embedding store in a tuple; an empty one without a store."""
        return self._embedder.stores

    def prepare(self, requests: Sequence[RerankRequest]) -> None:
        """Embed the candidates' passages into the store, if there is one, before queries are timed."""
        self._embedder.fill_store(requests)

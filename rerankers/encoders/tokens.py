"""Token ids of texts, as an encoder's own preprocessing makes them, and their batches.

Rows stay lists of different lengths until a batch is padded: padding all texts to the longest takes twice the
time, and memory that grows with the longest text.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from rerankers.encoders.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

_UNPADDED: dict[str, Any] = {"text": {"padding": False}, "common": {"return_tensors": None}}
_WHOLE: dict[str, Any] = {"text": {"padding": False, "truncation": False}, "common": {"return_tensors": None}}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a list of texts.

    Attributes:
        columns: rows of integers by name, `input_ids` among them.
        settings: the other outputs of the preprocessing, such as the prompt's length.
        lengths: tokens of each text, special ones included; zero for a text without tokens.
        cut: whether each text was cut at the longest input.
        fills: the integer that pads each column.
    """

    columns: dict[str, list[list[int]]]
    settings: dict[str, Any]
    lengths: list[int]
    cut: list[bool]
    fills: dict[str, int]

    def batch(self, rows: Sequence[int], device: torch.device) -> dict[str, Any]:
        """Return the network's inputs by name for some texts, (len(rows), longest of them) each.

        Padding stands on the right, whatever the tokenizer's own side: positions are those of a text alone.

        Args:
            rows: positions of the texts.
            device: the device to put them on.
        """
        lengths = torch.tensor([self.lengths[row] for row in rows])
        longest = max(self.lengths[row] for row in rows)
        real = torch.arange(longest) < lengths[:, None]
        features = dict(self.settings)
        for name, column in self.columns.items():
            values = torch.full((len(rows), longest), self.fills.get(name, 0))
            values[real] = torch.tensor(list(chain.from_iterable(column[row] for row in rows)))
            features[name] = to_device(values, device)
        features["attention_mask"] = to_device(real.long(), device)
        return features


def tokenize(
    model: SentenceTransformer, tokenizer: Any, texts: Sequence[str], prompt: str, task: str
) -> Tokens:
    """Return the tokens of texts, each behind a prompt.

    Args:
        model: the model, whose preprocessing is used.
        tokenizer: its tokenizer for the task, whose padding is used.
        texts: the texts.
        prompt: the text before each; empty for none.
        task: `query` or `document`.
    """
    how = {"prompt": prompt or None, "task": task}
    features: Any = model.preprocess(list(texts), processing_kwargs=_UNPADDED, **how)
    columns = {name: value for name, value in features.items() if isinstance(value, list)}
    settings = {name: value for name, value in features.items() if not isinstance(value, list)}
    columns.pop("attention_mask", None)  # all ones; each batch makes its own
    if not any(map(any, columns.get("token_type_ids", ()))):
        columns.pop("token_type_ids", None)  # zeros, which models take for granted
    lengths = [len(ids) for ids in columns["input_ids"]]
    encodings = getattr(features, "encodings", None)
    if encodings is None:  # a tokenizer without the fast backend does not say what it cut
        whole: Any = model.preprocess(list(texts), processing_kwargs=_WHOLE, **how)
        cut = [len(ids) > length for ids, length in zip(whole["input_ids"], lengths, strict=True)]
    else:
        cut = [bool(encoding.overflowing) for encoding in encodings]
    fills = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    return Tokens(columns, settings, lengths, cut, fills)

"""Changes to a loaded `CrossEncoder`, so that a batch scores its pairs as one by one, without ties by
rounding.

- A classifier over a causal model reads the last token that is not the padding token of `config.json`. Where
  the tokenizer pads with another token, the classifier reads a padded position; where one of them has none,
  the library fails. `Padding` writes the tokens that the classifier skips.
- In half precision, logits near 20 are 0.125 apart. The last linear layer is small; it runs in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerankers.models.sentence_model import Features


class Padding:
    """The padding tokens that a cross-encoder's pooling skips.

    Args:
        encoder: a `CrossEncoder`; its tokenizer is given a padding token and side where it needs them.
    """

    def __init__(self, encoder: Any) -> None:
        tokenizer = encoder.tokenizer
        if tokenizer.pad_token_id is None:  # any token will do: the mask hides it, and `write` replaces it
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        self._config = encoder.model.config.get_text_config()
        self._token: int | None = getattr(self._config, "pad_token_id", None)
        # transformers' classifiers over causal models; on the left, padding would shift absolute positions
        self._reads_last_token = hasattr(encoder.model, "score")
        if self._reads_last_token:
            tokenizer.padding_side = "right"
        _read_pairs_as_text(encoder)

    def write(self, features: Features) -> None:
        """Overwrite the padded positions of tokenised texts with the token that the pooling skips.

        Where the configuration has no such token, it is given one that ends no text of this call, so that the
        pooling finds the last token of each, as it does in a batch of one.

        Args:
            features: `input_ids` and `attention_mask`, (texts, longest text) each; changed in place.
        """
        ids, mask = features["input_ids"], features["attention_mask"]  # (texts, longest) each
        token = self._token
        if token is None and self._reads_last_token and ids.numel():
            ends = set(ids.gather(1, (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)).flatten().tolist())
            token = next(i for i in range(len(ends) + 1) if i not in ends)
            self._config.pad_token_id = token
        if token is not None:
            ids[mask == 0] = token


def _read_pairs_as_text(encoder: Any) -> None:
    """Remove a cross-encoder's chat input if its chat template cannot take a query and a document.

    The classifier then reads plain pairs.
    """
    methods = encoder[0].modality_config
    if "message" not in methods or "text" not in methods:
        return
    try:
        encoder.preprocess([("query", "document")])
    except ValueError:
        del methods["message"]


def score_in_float32(encoder: Any) -> None:
    """Make a cross-encoder compute its last linear layer in float32, from half-precision hidden states.

    Of a language model's vocabulary only the rows of the answers are kept.
    """
    import torch
    from sentence_transformers.cross_encoder.modules import LogitScore

    from rerankers.llm.readout import read_only

    last = encoder[-1]
    if isinstance(last, LogitScore):
        answers = [token for token in (last.true_token_id, last.false_token_id) if token is not None]
        read_only(encoder.model, answers)
        last.true_token_id, last.false_token_id = 0, 1 if len(answers) == 2 else None
        return
    backbone = set(encoder.model.base_model.modules())
    heads = [
        name
        for name, module in encoder.named_modules()
        if type(module) is torch.nn.Linear
        and module.out_features == encoder.num_labels
        and module not in backbone
    ]
    if heads and encoder.dtype != torch.float32:
        encoder.set_keep_in_fp32_modules([*encoder.keep_in_fp32_modules, heads[-1]])

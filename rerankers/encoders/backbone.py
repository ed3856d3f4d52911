"""The transformer before an encoder's pooling, for models whose transformer sentence-transformers does not
load.

These are Jina v2 (`jina_bert`), and any architecture of transformers whose weights a checkpoint of PE-Rank
carries. Weights that do not fit are refused. No code from a model's repository is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentence_transformers.base.modules import InputModule

from rerankers.encoders.jina_bert import JinaBert, JinaBertConfig
from rerankers.encoders.weights import read_model_weights
from rerankers.errors import ModelError
from rerankers.models.loading_report import POOLER, refuse_misfits
from rerankers.models.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from rerankers.models.devices import AttentionName
    from rerankers.models.locate import ModelFiles


class Backbone(InputModule):
    """A network and its tokenizer as the first module of a `SentenceTransformer`."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.tokenizer: Any = tokenizer

    @property
    def config(self) -> Any:
        """The network's configuration."""
        return self.model.config

    def get_embedding_dimension(self) -> int:
        """Return the size of a token's vector."""
        return int(self.config.hidden_size)

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_settings: Any) -> Any:
        """Return the token ids of texts, each behind the prompt, as lists of different lengths.

        Texts are cut at the tokenizer's longest input.
        """
        return self.tokenizer(
            [(prompt or "") + text for text in inputs],
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )

    def forward(self, features: dict[str, Any], **_settings: Any) -> dict[str, Any]:
        """Return the features with `token_embeddings`, (batch, tokens, dimension), added.

        Args:
            features: `input_ids` and `attention_mask`, (batch, tokens) each.
        """
        output = self.model(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
        return {**features, "token_embeddings": output.last_hidden_state}

    def save(self, output_path: str, *args: Any, **settings: Any) -> None:
        """Refuse to save, since such a model is only read.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError


def load_backbone(
    files: ModelFiles,
    stated: Mapping[str, Any],
    dtype: torch.dtype,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> Backbone:
    """Return the transformer and tokenizer of Jina v2, or of an architecture of transformers.

    Args:
        files: the location of the configuration, the tokenizer and, without `weights`, the weights.
        stated: the content of the model's `config.json`.
        dtype: of the weights.
        attention: transformers' attention implementation.
        weights: in place of the model's own, by the names the model gives them.

    Raises:
        ModelError: the files do not load, or weights are missing or surplus.
    """
    if stated.get("position_embedding_type") == "alibi":
        return Backbone(_jina_bert(files, stated, dtype, attention, weights), load_tokenizer(files))
    model = _empty(files, dtype, attention)
    _fill(model, read_model_weights(files) if weights is None else weights, files.name)
    return Backbone(model, load_tokenizer(files))


def _empty(files: ModelFiles, dtype: torch.dtype, attention: AttentionName) -> Any:
    """Return the architecture that `config.json` names, with random weights that are yet to be replaced."""
    from transformers import AutoConfig, AutoModel

    how = {"attn_implementation": attention} if attention != "auto" else {}
    config = AutoConfig.from_pretrained(
        files.location, revision=files.revision or "main", trust_remote_code=False
    )
    return AutoModel.from_config(config, trust_remote_code=False, dtype=dtype, **how)  # type: ignore[no-untyped-call]


def _jina_bert(
    files: ModelFiles,
    stated: Mapping[str, Any],
    dtype: torch.dtype,
    attention: AttentionName,
    weights: Mapping[str, torch.Tensor] | None,
) -> JinaBert:
    """Return Jina v2's network with its weights.

    Args:
        files: the location of the model, and of its weights if none are given.
        stated: the content of the model's `config.json`.
        dtype: of the weights.
        attention: `auto` or `sdpa`.
        weights: in place of the model's own.

    Raises:
        ModelError: another attention is asked for, or weights do not fit.
    """
    if attention not in ("auto", "sdpa"):
        raise ModelError(f"{files.name!r} runs with sdpa attention only: its positions are an attention bias")
    model = JinaBert(JinaBertConfig.of(stated, files.name)).to(dtype)
    tensors = read_model_weights(files) if weights is None else weights
    _fill(model, {name.removeprefix("bert."): weight for name, weight in tensors.items()}, files.name)
    return model


def _fill(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Load weights into a network.

    Args:
        model: the network; changed in place.
        weights: by the names of its parameters.
        name: the model's name, for errors.

    Raises:
        ModelError: weights are missing, surplus or of another shape.
    """
    try:
        misfits = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a shape that does not fit
        raise ModelError(f"the weights of {name!r} do not fit: {' '.join(str(error).split())}") from error
    refuse_misfits(
        name,
        misfits.missing_keys,
        misfits.unexpected_keys,
        architecture=type(model).__name__,
        may_lack=POOLER,
    )

"""The network of bge-reranker-v2-minicpm-layerwise: MiniCPM with a head for each upper layer.

The released configuration names code of its own repository, none of which is run. MiniCPM is a Llama whose
embeddings and residuals are multiplied by constants, which transformers calls Granite. Only the layers that
are computed are loaded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.models.granite.configuration_granite import GraniteConfig
from transformers.models.granite.modeling_granite import GraniteModel, GranitePreTrainedModel

from rerankers.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

ARCHITECTURE = "LayerWiseMiniCPMForCausalLM"
_REQUIRED = {"head_type": "simple", "head_multi": True, "rope_scaling": None, "pretraining_tp": 1}


class _Head(nn.Module):
    """The linear layer of one head, (width to 1), under the name that the files give it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_head = nn.Linear(width, 1, bias=False)


class LayerwiseNetwork(GranitePreTrainedModel):  # type: ignore[no-untyped-call]
    """The first layers of MiniCPM, and the head that belongs to the last of them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = GraniteModel(config)
        self.lm_head = nn.ModuleDict({str(config.head): _Head(config.hidden_size)})
        self.post_init()  # type: ignore[no-untyped-call]

    @property
    def score_head(self) -> nn.Linear:
        """The head (width to 1) of the last layer."""
        linear: Any = self.lm_head[str(self.config.head)].linear_head
        head: nn.Linear = linear
        return head


class LayerwiseLoader:
    """A loader of the first layers of a checkpoint, used in place of a model class of transformers.

    Args:
        name: the model's name, for errors.
        stated: the content of `config.json`.
        layer: the number of layers to compute; None for all.

    Attributes:
        layer: the number of layers to compute.
        network_config: the network's configuration in terms of transformers.

    Raises:
        InputError: the model has no head behind that layer.
        ModelError: the model is of another architecture.
    """

    def __init__(self, name: str, stated: Mapping[str, Any], layer: int | None) -> None:
        if stated.get("architectures") != [ARCHITECTURE]:
            raise ModelError(
                f"{name!r} is a {stated.get('architectures')}, not a {ARCHITECTURE}. Name "
                "BAAI/bge-reranker-v2-minicpm-layerwise, or a model trained from it."
            )
        for key, value in _REQUIRED.items():
            if stated.get(key, value) != value:
                raise ModelError(
                    f"{name!r}: config.json: {key} is {stated[key]!r}. Only {value!r} is supported."
                )
        layers, first = int(stated["num_hidden_layers"]), int(stated["start_layer"])
        self.layer = layers if layer is None else layer
        if not first <= self.layer <= layers:
            raise InputError(
                f"layer {layer}: {name!r} has heads behind layers {first} to {layers}. Choose one of them."
            )
        head_width = stated["hidden_size"] // stated["num_attention_heads"]
        taken = (
            "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
            "hidden_act", "max_position_embeddings", "rms_norm_eps", "attention_bias", "bos_token_id",
            "eos_token_id",
        )  # fmt: skip
        self.network_config = GraniteConfig(
            **{key: stated[key] for key in taken if key in stated},
            num_hidden_layers=self.layer,
            embedding_multiplier=stated["scale_emb"],
            residual_multiplier=stated["scale_depth"] / math.sqrt(layers),
            attention_multiplier=head_width**-0.5,
            rope_parameters={"rope_type": "default", "rope_theta": stated.get("rope_theta", 10000.0)},
            tie_word_embeddings=False,
        )
        self.network_config.head = self.layer - first
        above = "|".join(map(str, range(self.layer, layers)))
        self._unused = [rf"^model\.layers\.({above})\."] if above else []

    def from_pretrained(self, location: str, **how: Any) -> Any:
        """Return the network of the first layers and the head behind them, with its weights.

        Layers above may be in the files; they are not loaded.

        Args:
            location: a hub id or a folder.
            how: further arguments of transformers' `from_pretrained`.
        """
        members = {"_keys_to_ignore_on_load_unexpected": self._unused}
        network: Any = type(LayerwiseNetwork.__name__, (LayerwiseNetwork,), members)
        return network.from_pretrained(location, config=self.network_config, **how)

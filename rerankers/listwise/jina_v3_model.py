"""The network of jina-reranker-v3: Qwen3 and a projector, in the layout of the published weights.

The released configuration names code of its own repository. None of it is run: the architecture is the
one below, its weights pass the same gate as all others, and `auto_map` is never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model, Qwen3PreTrainedModel

from rerankers.encoders.recipe import read_json
from rerankers.errors import ModelError

if TYPE_CHECKING:
    from rerankers.models.model_files import ModelFiles

PROJECTED = 512
"""Length of the projected vectors that are compared; fixed in the published code."""

ARCHITECTURE = "JinaForRanking"


class JinaForRanking(Qwen3PreTrainedModel):  # type: ignore[no-untyped-call]
    """Qwen3 without a vocabulary head, and the projector of its states (arXiv 2509.25085, section 3)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.model = Qwen3Model(config)
        self.projector = nn.Sequential(
            nn.Linear(width, width // 2, bias=False), nn.ReLU(), nn.Linear(width // 2, PROJECTED, bias=False)
        )
        self.post_init()  # type: ignore[no-untyped-call]


def check_architecture(files: ModelFiles) -> None:
    """Raise an error unless a model's `config.json` says that it is a jina-reranker-v3.

    Raises:
        ModelError: it names another architecture.
    """
    config = read_json(files, "config.json")
    stated = config.get("architectures")
    if config.get("model_type") != "qwen3" or stated != [ARCHITECTURE]:
        raise ModelError(
            f"{files.name!r} is a {stated} of type {config.get('model_type')!r}, not a {ARCHITECTURE} of "
            "type 'qwen3'. Name jinaai/jina-reranker-v3, or a model trained from it."
        )

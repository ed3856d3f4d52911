"""Settings of an E2Rank training; the defaults are the published script's for one of its eight GPUs.

Source: `scripts/train_e2rank_0.6b.sh` of the published code. Its effective batch is 8 x 2 lists on each of 8
GPUs, 128 in all.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rerankers.training.e2rank.losses import RANKNET_WEIGHT, SCALE, TEMPERATURE
from rerankers.training.settings import DataSettings, LLMSettings, OptimizerSettings, TrainingSettings

_PUBLISHED_OPTIMIZER = {"learning_rate": 5e-6, "schedule": "linear", "batch_size": 8, "accumulation": 2}
_Length = Annotated[int, Field(ge=8)]
_Number = Annotated[float, Field(ge=0, strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ListSettings(DataSettings):
    """Settings of an E2Rank training's data: lists, see `rerankers.training.e2rank.data`; none is held out.

    Attributes:
        list_size: passages of a list; of longer ones so many are drawn, anew in every epoch. None takes lists
            as they are, which then have to be of one size. Shorter lists are refused.
    """

    list_size: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _holds_nothing_out(self) -> ListSettings:
        """Raise ValueError for settings that an E2Rank training does not read."""
        for name in ("validation", "validation_limit", "shuffle"):
            if getattr(self, name):
                raise ValueError(
                    f"E2Rank has no {name}: the model is not scored while it trains; leave it out"
                )
        return self


class TwoLosses(_Strict):
    """Settings of E2Rank's two losses; see `rerankers.training.e2rank.losses`.

    Attributes:
        temperature: of InfoNCE.
        scale: of RankNet's cosines.
        ranknet_weight: of RankNet beside InfoNCE.
    """

    temperature: Annotated[float, Field(gt=0)] = TEMPERATURE
    scale: Annotated[float, Field(gt=0)] = SCALE
    ranknet_weight: _Number = RANKNET_WEIGHT


class LengthSettings(_Strict):
    """Longest texts in tokens; what is longer loses its end.

    Attributes:
        query: a query with the instruction before it.
        passage: a passage that is embedded.
        prompt: a listwise prompt.
    """

    query: _Length = 512
    passage: _Length = 1024
    prompt: _Length = 32768


class E2RankSettings(TrainingSettings):
    """Settings of an E2Rank training.

    Attributes:
        llm: the model to start from, such as `Alibaba-NLP/E2Rank-0.6B-Embedding-Only`.
        data: lists.
        tune: what learns: the whole model, or an adapter (`lora`) that is merged into it at the end.
        loss: losses.
        lengths: longest texts.
    """

    llm: LLMSettings
    data: ListSettings
    tune: Literal["full", "lora"] = "full"
    loss: TwoLosses = TwoLosses()
    lengths: LengthSettings = LengthSettings()
    save_every: Annotated[int, Field(ge=1)] = 200
    log_every: Annotated[int, Field(ge=1)] = 1

    optimizer: OptimizerSettings = OptimizerSettings.model_validate(_PUBLISHED_OPTIMIZER)

    stage_defaults: ClassVar[dict[str, Any]] = {"optimizer": _PUBLISHED_OPTIMIZER}

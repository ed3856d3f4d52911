"""Settings of an E2Rank training; the defaults are the published script's for one of its eight GPUs.

Source: `scripts/train_e2rank_0.6b.sh` of the published code. Its effective batch is 8 x 2 lists on each of 8
GPUs, 128 in all.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rerankers.training.e2rank.losses import RANKNET_WEIGHT, SCALE, TEMPERATURE
from rerankers.training.settings import LLMSettings, LoRASettings, OptimizerSettings

_Length = Annotated[int, Field(ge=8)]
_Positive = Annotated[int, Field(ge=1)]
_Number = Annotated[float, Field(ge=0, strict=False)]

_PUBLISHED_OPTIMIZER = {"learning_rate": 5e-6, "schedule": "linear", "batch_size": 8, "accumulation": 2}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ListSettings(_Strict):
    """Settings of an E2Rank training's data.

    Attributes:
        train: JSONL file of lists; see `rerankers.training.e2rank.data`.
        list_size: passages of a list; of longer ones so many are drawn, anew in every epoch. None takes lists
            as they are, which then have to be of one size. Shorter lists are refused.
    """

    train: str
    list_size: Annotated[int, Field(ge=2)] | None = None


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


class E2RankSettings(_Strict):
    """Settings of an E2Rank training.

    Attributes:
        llm: the model to start from, such as `Alibaba-NLP/E2Rank-0.6B-Embedding-Only`.
        data: lists.
        tune: what learns: the whole model, or an adapter (`lora`) that is merged into it at the end.
        lora: the adapter.
        loss: losses.
        lengths: longest texts.
        optimizer: steps and learning rate.
        save_every: steps between saved states, from which a killed training goes on.
        log_every: steps between two lines of the log.
        seed: of everything random.
        out: result folder.
    """

    llm: LLMSettings
    data: ListSettings
    tune: Literal["full", "lora"] = "full"
    lora: LoRASettings = LoRASettings()
    loss: TwoLosses = TwoLosses()
    lengths: LengthSettings = LengthSettings()
    optimizer: OptimizerSettings = OptimizerSettings.model_validate(_PUBLISHED_OPTIMIZER)
    save_every: _Positive = 200
    log_every: _Positive = 1
    seed: int = 0
    out: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_published_optimizer(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("optimizer"), dict):
            return {**values, "optimizer": {**_PUBLISHED_OPTIMIZER, **values["optimizer"]}}
        return values

"""Settings of the training of a cross-encoder."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from rerankers.training.settings import TrainingSettings


class CrossEncoderSettings(TrainingSettings):
    """Settings of a cross-encoder: an encoder with a head that scores a query with a passage.

    Attributes:
        model: the encoder, or a cross-encoder to go on with; hub id, folder or wheel.
        revision: hub revision.
        temperature: the teacher's scores are divided by it before the softmax.
        source_bonus: added to the label of the passage that a query was made from: better gold than the
            teacher's opinion of it. A list names that passage as its `source_doc_id`; otherwise it is the
            one whose id is the query's up to the last slash.
        max_length: longest pair of query and passage, in tokens.
    """

    model: str
    revision: str | None = None
    temperature: Annotated[float, Field(gt=0)] = 0.05
    source_bonus: Annotated[float, Field(ge=0)] = 0.0
    max_length: Annotated[int, Field(ge=8)] = 128

    stage_defaults: ClassVar[dict[str, Any]] = {
        "data": {"list_size": 8, "shuffle": True},
        "tune": "lora",
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"},
        "optimizer": {"learning_rate": 1e-3, "batch_size": 4, "warmup": 0.1},
    }

    @model_validator(mode="after")
    def _learns_what_it_has(self) -> CrossEncoderSettings:
        if self.tune == "projector":
            raise ValueError("a cross-encoder has no projector; set tune to lora or full")
        if self.lora.merge_per_step:
            raise ValueError("lora.merge_per_step is for language models; leave it out")
        return self

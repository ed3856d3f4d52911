"""Settings of a training: a strict pydantic model a stage, with the paper's defaults where it has them.

Paper: arXiv 2406.14848, section 4.1, and the scripts of its code. The stage `query` is this project's own.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rerankers.models.devices import AttentionName, DtypeName
from rerankers.pe_rank.prompt import PromptTemplate
from rerankers.training.losses import KL_WEIGHT, Reduction

Stage = Literal["align", "query", "rank", "text", "cross-encoder", "e2rank"]

_PAPER = PromptTemplate()


def _number(value: Any) -> Any:
    """Return a text such as `1e-3` as a float, which YAML takes for text; any other value unchanged."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


_Number = Annotated[float, BeforeValidator(_number)]
_Above = Annotated[_Number, Field(gt=0)]
_Weight = Annotated[_Number, Field(ge=0)]
_Fraction = Annotated[_Number, Field(ge=0, lt=1)]
_Positive = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LLMSettings(_Strict):
    """Settings of the language model.

    Attributes:
        model: hub id, folder or wheel.
        revision: hub revision.
        dtype: of its weights; what is trained is kept in float32 all the same, unless it is the whole model.
        attention: transformers' implementation; `eager` is the fastest for short sequences on a CPU.
        gradient_checkpointing: compute activations again in the backward pass: less memory, a third slower.
    """

    model: str
    revision: str | None = None
    dtype: DtypeName = "auto"
    attention: AttentionName = "auto"
    gradient_checkpointing: bool = False


class EncoderSettings(_Strict):
    """Settings of the encoder, which stays frozen.

    Attributes:
        model: hub id, folder or wheel.
        revision: hub revision.
        pooling: `auto` is its authors' own.
        query_prefix: put before queries; None is its authors' own. Only the distillation embeds queries.
        passage_prefix: put before passages; None is its authors' own.
        max_length: longest passage in training, in tokens.
        inference_max_length: longest passage when the checkpoint is used.
        dtype: of its weights.
    """

    model: str
    revision: str | None = None
    pooling: Literal["auto", "mean", "cls", "last_token"] = "auto"
    query_prefix: str | None = None
    passage_prefix: str | None = None
    max_length: _Positive = 128
    inference_max_length: _Positive = 512
    dtype: DtypeName = "auto"


class PromptSettings(_Strict):
    """Settings of the prompt template; see `rerankers.pe_rank.prompt.PromptTemplate`. Defaults: the paper's.

    Attributes:
        prefix: what comes first; knows `{n}` and `{query}`.
        passage: one passage given as an embedding alone; knows `{i}`.
        passage_with_text: one passage given as an embedding and its text; knows `{i}` and `{text}`.
        suffix: what comes last; knows `{n}` and `{query}`.
        chat: put the text into a user turn of the tokenizer's chat template.
    """

    prefix: str = _PAPER.prefix
    passage: str = _PAPER.passage
    passage_with_text: str = _PAPER.passage_with_text
    suffix: str = _PAPER.suffix
    chat: bool = True


class ProjectorSettings(_Strict):
    """Settings of the projector, if it starts afresh.

    Attributes:
        kind: `mlp2x_gelu`, `linear`, `identity` or `mlpNx_gelu`.
        scale: length of its outputs at the start, in lengths of the language model's own token embeddings.
            At 1 the first logits are hot and the first losses worse than a uniform choice's.
        step_limit: share of a layer's output by which one step may move it; a layer whose weights are small
            learns at a lower rate than the rest. None lets all learn at `optimizer.learning_rate`.
    """

    kind: str = "mlp2x_gelu"
    scale: _Above = 1.0
    step_limit: _Above | None = 0.3


class LoRASettings(_Strict):
    """Settings of the LoRA adapter (arXiv 2106.09685), if one is trained; defaults of the paper's code.

    Attributes:
        rank: of the two factors.
        alpha: their product is scaled by alpha / rank.
        dropout: on the adapter's input.
        target_modules: names of linear layers, or `all-linear`.
        merge_per_step: compute W + (alpha / rank) B A once a step instead of two products a layer: faster on
            a CPU in float32, the same gradients. Without dropout only; costs a copy of the adapted weights.
    """

    rank: _Positive = 8
    alpha: _Positive = 16
    dropout: _Fraction = 0.05
    target_modules: list[str] | Literal["all-linear"] = ["q_proj", "v_proj"]
    merge_per_step: bool = False

    @model_validator(mode="after")
    def _merges_without_dropout(self) -> LoRASettings:
        if self.merge_per_step and self.dropout:
            raise ValueError(
                "merge_per_step needs dropout: 0, a merged weight has no input of its own to drop"
            )
        return self


class DataSettings(_Strict):
    """Settings of the training and validation data.

    Attributes:
        train: JSONL file.
        validation: JSONL file of rankings; without one nothing is evaluated. For `align` it may hold
            alignment data, whose passages are rebuilt before and after.
        validation_limit: use its first so many records.
        list_size: passages a list at most; None takes lists as they are. Of longer lists `shuffle` draws some
            at random, anew in every epoch; otherwise the first ones are taken.
        shuffle: show the passages of a list in random order, anew in every epoch.
    """

    train: str
    validation: str | None = None
    validation_limit: _Positive | None = None
    list_size: _Positive | None = None
    shuffle: bool = False


class FirstStepSettings(_Strict):
    """Settings of the distillation of the encoder's similarities into the first step's scores (our own).

    Attributes:
        weight: of its loss beside the stage's own; the stage `query` has no other loss.
        temperature: of the teacher's softmax over cosines.
        pool: passages drawn at random from the training data, beside the batch's own.
    """

    weight: _Weight = 0.0
    temperature: _Above = 0.05
    pool: Annotated[int, Field(ge=0)] = 0


class LossSettings(_Strict):
    """Settings of the losses; see `rerankers.training.losses`.

    Attributes:
        reduction: `paper` sums ListMLE over steps, `released` takes their mean.
        discount: weight step t by 1 / log2(t + 2).
        with_text: train on the prompt with the passages' text too, and on the divergence between both.
        kl_weight: of that divergence.
        first_step: distillation of the encoder's similarities.
    """

    reduction: Reduction = "paper"
    discount: bool = False
    with_text: bool = True
    kl_weight: _Weight = KL_WEIGHT
    first_step: FirstStepSettings = FirstStepSettings()


class OptimizerSettings(_Strict):
    """Settings of AdamW and its learning-rate schedule.

    Attributes:
        learning_rate: its peak.
        schedule: transformers' name.
        warmup: share of all steps in which the learning rate rises.
        batch_size: examples a device and forward pass.
        accumulation: forward passes a step; the effective batch is their product times the processes.
        effective_batch: records a step that the recipe was made for. Another number is warned of.
        epochs: passes over the data, unless `max_steps` says when to end.
        max_steps: optimizer steps.
        max_seconds: end after so many seconds at the latest, with the schedule as far as it came.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm; 0 clips nothing.
        bf16: compute in bfloat16 by autocast.
    """

    learning_rate: _Above
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: _Fraction = 0.03
    batch_size: _Positive = 32
    accumulation: _Positive = 1
    effective_batch: _Positive | None = None
    epochs: _Above = 1.0
    max_steps: _Positive | None = None
    max_seconds: _Above | None = None
    weight_decay: _Weight = 0.0
    max_grad_norm: _Weight = 1.0
    bf16: bool = False


class EarlyStoppingSettings(_Strict):
    """Settings that end a training whose nDCG@10 on the held-out lists no longer rises.

    Attributes:
        patience: evaluations without a gain.
        min_gain: a score has to be more than this above the best one to be a gain.
    """

    patience: _Positive
    min_gain: _Weight = 0.0


class TrainingSettings(_Strict):
    """Settings that every training has.

    Attributes:
        data: files and lists.
        tune: what learns: the projector alone, an adapter (with the projector where there is one: `lora`), or
            the whole model.
        lora: the adapter.
        optimizer: steps and learning rate.
        evaluate_every: steps between evaluations; None evaluates at the end only.
        early_stopping: end before the last step where evaluations bring no gain; None trains to the end.
        save_every: steps between saved states, from which a killed training goes on.
        log_every: steps between two lines of the log.
        report_to: where transformers' Trainer sends the log as well: `tensorboard` or `wandb`.
        seed: of everything random.
        out: result folder.
    """

    data: DataSettings
    tune: Literal["projector", "lora", "full"]
    lora: LoRASettings = LoRASettings()
    optimizer: OptimizerSettings
    evaluate_every: _Positive | None = None
    early_stopping: EarlyStoppingSettings | None = None
    save_every: _Positive = 1000
    log_every: _Positive = 10
    report_to: Literal["tensorboard", "wandb"] | None = None
    seed: int = 0
    out: str | None = None

    stage_defaults: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_stage(cls, values: Any) -> Any:
        return _merged(cls.stage_defaults, values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _stops_by_evaluations(self) -> TrainingSettings:
        if self.early_stopping and not (self.evaluate_every and self.data.validation):
            raise ValueError("early_stopping needs evaluate_every and data.validation")
        return self


class Settings(TrainingSettings):
    """Settings of a training of PE-Rank.

    Attributes:
        llm: language model.
        encoder: embedding model.
        prompt: the prompt template; None is the paper's, or what the data's own messages say.
        projector: how it starts.
        init_from: a checkpoint to start from, projector and adapter: folder, hub id, wheel or `bundled:...`.
            The projector's kind and the adapter's rank, alpha and target modules are its own unless given.
        loss: losses.
        max_length: longest sequence in tokens.
    """

    llm: LLMSettings
    encoder: EncoderSettings
    prompt: PromptSettings | None = None
    projector: ProjectorSettings = ProjectorSettings()
    init_from: str | None = None
    loss: LossSettings = LossSettings()
    max_length: _Positive = 4096


def _merged(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` over `defaults`: nested sections are merged key by key."""
    merged = {**defaults, **values}
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            merged[key] = _merged(value, values[key])
    return merged


class AlignSettings(Settings):
    """Settings of stage 1 of the paper: passages are rebuilt from embeddings; only the projector learns."""

    stage_defaults: ClassVar[dict[str, Any]] = {
        "tune": "projector",
        "optimizer": {"learning_rate": 1e-3},
        "max_length": 512,
    }


class QuerySettings(Settings):
    """Settings of our warm-up: the prompt without passages learns to point at similar passages."""

    stage_defaults: ClassVar[dict[str, Any]] = {
        "tune": "lora",
        "loss": {"with_text": False, "first_step": {"weight": 1.0}},
        "optimizer": {"learning_rate": 1e-3},
    }


class RankSettings(Settings):
    """Settings of stage 2 of the paper: learning to rank, by teacher forcing."""

    stage_defaults: ClassVar[dict[str, Any]] = {
        "tune": "full",
        "optimizer": {"learning_rate": 2e-5, "effective_batch": 32},
    }


STAGES: dict[Stage, type[Settings]] = {"align": AlignSettings, "query": QuerySettings, "rank": RankSettings}

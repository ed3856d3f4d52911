"""Models with random weights in the shapes of released ones, and requests of the built-in collection.

Latency depends on shapes and texts, not on trained weights. Rankings by random weights mean nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.sources import open_dataset
from benchmarks.results.exchange.interchange import candidate_line
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]", "[MASK]")
ANSWERS = ("Yes", "No", "yes", "no")


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Mistral language model and of a BERT encoder, as options of their configurations."""

    llm: Mapping[str, Any]
    encoder: Mapping[str, Any]


SHAPES = {
    # Mistral-7B-Instruct v0.1 and BGE-base, the pair that the PE-Rank paper trains (arXiv 2406.14848, 4.1)
    "mistral-7b": Shape(
        llm={
            "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32_768,
        },
        encoder={"vocab_size": 30_522},
    ),
    "tiny": Shape(
        llm={
            "vocab_size": 2048, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192,
        },
        encoder={
            "vocab_size": 2048, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Models:
    """The paths of random checkpoints: three folders, and the projector's file."""

    llm: Path
    encoder: Path
    cross_encoder: Path
    projector: Path


def write_models(folder: Path, shape: Shape, texts: Iterable[str], device: str, dtype: str) -> Models:
    """Write random checkpoints and a tokenizer into a folder, unless it exists; return the paths.

    Args:
        folder: where to write: 15 GB for `mistral-7b` in bfloat16.
        shape: sizes.
        texts: texts on which the tokenizer is trained.
        device: device on which weights are drawn.
        dtype: type of the language model's weights, such as `bfloat16`; the others are float32.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        BertConfig,
        MistralConfig,
    )

    from rerankers.pe_rank.projector import build_projector

    names = ("llm", "encoder", "cross-encoder", "projector.safetensors")
    models = Models(*(folder / name for name in names))
    if folder.exists():
        return models
    beside = folder.with_name(f"{folder.name}.partial")  # renamed when it is whole
    torch.manual_seed(0)
    tokenizer = _tokenizer(texts, shape.encoder["vocab_size"])
    ids: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    bert: Any = BertConfig
    encoder = bert(**shape.encoder, pad_token_id=2)
    causal: Any = AutoModelForCausalLM
    plain: Any = AutoModel
    classifier: Any = AutoModelForSequenceClassification
    with torch.device(device):
        llm = causal.from_config(
            MistralConfig(**shape.llm, **ids, sliding_window=None), dtype=getattr(torch, dtype)
        )
        made = (
            (models.llm, llm),
            (models.encoder, plain.from_config(encoder)),
            (
                models.cross_encoder,
                classifier.from_config(bert(**encoder.to_dict() | {"num_labels": 1})),
            ),
        )
    for target, network in made:
        path = beside / target.name
        network.save_pretrained(path)
        tokenizer.model_max_length = shape.llm["max_position_embeddings"] if target is models.llm else 512
        tokenizer.save_pretrained(path)
    projector = build_projector("mlp2x_gelu", encoder.hidden_size, shape.llm["hidden_size"])
    save_file(projector.state_dict(), beside / models.projector.name)
    beside.rename(folder)
    return models


def write_requests(path: Path, qrels: Path, queries: int, depth: int) -> list[str]:
    """Write files of candidates and judgements from the built-in collection, and return all its texts.

    Args:
        path: file of the candidates, as JSON lines.
        qrels: file of their judgements, in TREC's format.
        queries: number of queries; at most 40.
        depth: passages a query: the judged ones, and others drawn with a seed.
    """
    dataset = open_dataset("bundled")
    texts = dict(dataset.documents())
    draw = random.Random(0)  # noqa: S311 - no secret
    lines, judged = [], []
    for query_id, query in list(dataset.queries.items())[:queries]:
        grades = dataset.qrels[query_id]
        rest = sorted(set(texts) - set(grades))
        ids = [*grades, *draw.sample(rest, max(0, depth - len(grades)))][:depth]
        draw.shuffle(ids)
        hits = [(doc_id, float(depth - rank), texts[doc_id]) for rank, doc_id in enumerate(ids)]
        lines.append(candidate_line("rankgpt", query_id, query, hits))
        judged += [f"{query_id} 0 {doc_id} {grade}\n" for doc_id, grade in grades.items()]
    replace_file(path, "".join(line.rstrip("\n") + "\n" for line in lines))
    replace_file(qrels, "".join(judged))
    return [*texts.values(), *dataset.queries.values()]


def _tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer on texts, and return it with a chat template and special tokens.

    Passages then have about as many tokens as with published tokenizers.

    Args:
        texts: the texts.
        vocabulary: number of tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(ANSWERS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    trained.add_tokens(list(ANSWERS))
    wrap: Any = PreTrainedTokenizerFast
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    bert = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return wrap(tokenizer_object=trained, chat_template=CHAT_TEMPLATE, **roles, **bert)

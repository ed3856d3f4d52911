"""Requests for benchmarks of models, from a candidates file or of random words, and a tokenizer."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerankers import Candidate, RerankRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


def requests_of(queries: int, depth: int) -> list[RerankRequest]:
    """Return up to `queries` requests with up to `depth` candidates each.

    They are the first ones of the file that `RERANKBENCH_BENCH_CANDIDATES` names (JSON lines with `query` and
    `hits`, as `rerankbench rerank` takes it), or made of random words: queries of 6, passages of about 36.
    """
    path = os.environ.get("RERANKBENCH_BENCH_CANDIDATES")
    if path:
        read = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()[:queries]]
        pools = [(row["query"], [hit["content"] for hit in row["hits"]]) for row in read]
    else:
        draw = random.Random(0)  # noqa: S311 - no secret
        words = [f"word{number}" for number in range(2000)]
        pools = [
            (
                " ".join(draw.choices(words, k=6)),
                [" ".join(draw.choices(words, k=max(8, round(draw.gauss(36, 14))))) for _ in range(depth)],
            )
            for _ in range(queries)
        ]
    return [
        RerankRequest(
            f"q{number}",
            query,
            tuple(Candidate(f"q{number}", f"d{i}", text, -float(i)) for i, text in enumerate(texts[:depth])),
        )
        for number, (query, texts) in enumerate(pools)
    ]


def save_tokenizer(folder: Path, requests: list[RerankRequest], control: Sequence[str] = ()) -> int:
    """Save a word-level tokenizer of the requests' words into a folder, and return its vocabulary's size.

    Args:
        folder: where to save it.
        requests: the requests.
        control: further control tokens.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "yes", "no", "\u2581true", "\u2581false"]
    texts = [text for r in requests for text in (r.query, *(c.text for c in r.candidates))]
    split = pre_tokenizers.Whitespace()
    english = "in a plain sentence"  # a tokenizer that knows no word of a language is refused
    words = sorted(
        {word for text in (english, *texts) for word, _ in split.pre_tokenize_str(text)} - set(special)
    )
    vocabulary = {word: i for i, word in enumerate(special + words)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token, no password
    raw.pre_tokenizer = split
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=raw,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=512,
        additional_special_tokens=list(control),
    ).save_pretrained(folder)
    return len(vocabulary) + len(control)

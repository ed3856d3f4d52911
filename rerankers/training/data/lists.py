"""Prepares the data of a PE-Rank training: reads and checks files, writes prompts, and embeds passages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rerankers.errors import InputError
from rerankers.files.paths import cache_folder
from rerankers.training.data.batches import Collator
from rerankers.training.data.examples import AlignmentExamples, ListChoice, RankingExamples
from rerankers.training.data.records import holds_alignment, read_alignment, read_ranking
from rerankers.training.data.vectors import TextRows, embed
from rerankers.training.evaluation import Validation
from rerankers.training.measures import HeldOutLists
from rerankers.training.planning.truncation import count_truncated
from rerankers.training.reconstruction import Reconstruction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerankers.encoders.encoder import Encoder, Kind
    from rerankers.pe_rank.prompt import PromptWriter
    from rerankers.training.data.records import AlignmentRecord, RankingRecord
    from rerankers.training.planning.truncation import Truncation
    from rerankers.training.settings import Settings, Stage


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a training's files.

    One of the first two is empty, and at least one of the last two is None.

    Attributes:
        alignment: conversations, for the stage `align`.
        lists: ranked lists, for the other stages.
        validation: held-out lists to rank.
        rebuilt: held-out conversations to rebuild.
    """

    alignment: Sequence[AlignmentRecord]
    lists: Sequence[RankingRecord]
    validation: Sequence[RankingRecord] | None
    rebuilt: Sequence[AlignmentRecord] | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The prepared data of a training: examples, collator, held-out data (or None) and truncations."""

    examples: RankingExamples | AlignmentExamples
    collator: Collator
    validation: Validation | None
    truncations: Sequence[Truncation]
    reconstruction: Reconstruction | None = None


def read_data(stage: Stage, settings: Settings) -> Records:
    """Read the files that the settings name, and return their records, each one checked.

    Raises:
        InputError: `file:line`: a record is broken, or does not fit the settings.
    """
    alignment: Sequence[AlignmentRecord] = ()
    lists: Sequence[RankingRecord] = ()
    path = Path(settings.data.train)
    if stage == "align":
        alignment = read_alignment(path)
    else:
        lists = read_ranking(path)
        if _distils(stage, settings) or settings.prompt:
            check_queries(path, lists)
        if stage == "rank" and settings.loss.with_text and settings.prompt is None:
            _check_own_messages(path, lists, settings)
    validation = None
    if settings.data.validation is not None:
        held_out = Path(settings.data.validation)
        if stage == "align" and holds_alignment(held_out):
            rebuilt = read_alignment(held_out)[: settings.data.validation_limit]
            return Records(alignment, lists, None, rebuilt)
        validation = read_ranking(held_out)[: settings.data.validation_limit]
        check_queries(held_out, validation)
    return Records(alignment, lists, validation)


def prepare_data(
    stage: Stage,
    settings: Settings,
    records: Records,
    writer: PromptWriter,
    encoder: Encoder,
    say: Callable[[str], None],
) -> Data:
    """Return the records' prompts as token ids, with the vectors of their passages, for the Trainer.

    The encoder cuts training passages at `encoder.max_length` and held-out ones at `inference_max_length`.

    Raises:
        InputError: a sequence is too long.
    """
    passages, queries = TextRows(), TextRows()
    first_step = settings.loss.first_step
    distils = _distils(stage, settings)
    examples: RankingExamples | AlignmentExamples
    if stage == "align":
        examples = AlignmentExamples(records.alignment, writer, passages, settings.max_length)
    else:
        examples = RankingExamples(
            records.lists,
            writer,
            passages,
            queries if distils else None,
            ListChoice(settings.data.list_size, settings.data.shuffle),
            with_text=settings.loss.with_text and stage == "rank",
            without_passages=stage == "query",
            own_messages=settings.prompt is None,
            max_length=settings.max_length,
        )
    say(f"{len(examples.lengths)} records with {len(passages.texts)} different passages")
    store = cache_folder() / "embeddings"
    validation = None
    if records.validation is not None:
        encoder.shorten(settings.encoder.inference_max_length)
        validation = _validation(settings, records.validation, writer, encoder, store, say)
    encoder.shorten(settings.encoder.max_length)
    reconstruction = None
    if records.rebuilt is not None:
        held_out = TextRows()
        rebuilt = AlignmentExamples(records.rebuilt, writer, held_out, settings.max_length)
        embedded = embed(encoder, held_out.texts, "passage", store, say)
        reconstruction = Reconstruction(records.rebuilt, rebuilt, embedded, writer.tokenizer)
    vectors = embed(encoder, passages.texts, "passage", store, say)
    query_vectors = embed(encoder, queries.texts, "query", store, say) if distils else None
    collator = Collator(vectors, query_vectors, first_step.pool if distils else 0, settings.seed)
    truncations = _truncations(encoder, passages.texts, queries.texts, examples, settings.max_length)
    return Data(examples, collator, validation, truncations, reconstruction)


def _truncations(
    encoder: Encoder,
    passages: Sequence[str],
    queries: Sequence[str],
    examples: RankingExamples | AlignmentExamples,
    longest_prompt: int,
) -> list[Truncation]:
    """Return how many passages, queries and prompts are cut, by kind."""

    def cut_by_encoder(texts: Sequence[str], kind: Kind) -> Truncation:
        name = "passages" if kind == "passage" else "queries"
        return count_truncated(
            name,
            len(texts),
            encoder.max_length,
            lambda numbers: encoder.count_cut([texts[number] for number in numbers], kind=kind),
        )

    counted = [cut_by_encoder(passages, "passage")]
    if queries:
        counted.append(cut_by_encoder(queries, "query"))
    # too long a prompt of the other stages is refused
    cut = examples.count_cut if isinstance(examples, AlignmentExamples) else lambda _: 0
    return [*counted, count_truncated("prompts", len(examples.lengths), longest_prompt, cut)]


def _validation(
    settings: Settings,
    records: Sequence[RankingRecord],
    writer: PromptWriter,
    encoder: Encoder,
    store: Path,
    say: Callable[[str], None],
) -> Validation:
    """Return the held-out lists with prompts, and passages embedded as the checkpoint will do."""
    passages = TextRows()
    rows = [passages.add(record.passages) for record in records]
    vectors = embed(encoder, passages.texts, "passage", store, say)
    prompts = [writer.write(record.query, len(record.passages)) for record in records]
    lists = HeldOutLists.of(records)
    return Validation(prompts, rows, lists, vectors, writer, settings.optimizer.batch_size)


def _distils(stage: Stage, settings: Settings) -> bool:
    """Return whether a training uses the distillation of the first step, which needs queries' vectors."""
    return stage != "align" and settings.loss.first_step.weight > 0


def check_queries(path: Path, records: Sequence[RankingRecord]) -> None:
    """Raise an error for a record without a query.

    Raises:
        InputError: `file:line`: there is one.
    """
    for record in records:
        if not record.query:
            raise InputError.at(path, record.line, "no query can be found in the messages. Add 'query'")


def _check_own_messages(path: Path, records: Sequence[RankingRecord], settings: Settings) -> None:
    """Raise an error if lists are to be cut or shuffled whose own messages hold the passages' text."""
    size = settings.data.list_size
    for record in records:
        is_cut = size is not None and size < len(record.passages)
        if record.messages_with_text is not None and (settings.data.shuffle or is_cut):
            raise InputError.at(
                path,
                record.line,
                "the record's own messages hold the passages' text in their order. Leave data.shuffle and "
                "data.list_size out, or set prompt: to have the messages written anew",
            )

"""The options that describe a dataset in an experiment file: where it is, and how its parts are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmarks.candidates.file import candidates_stem
from benchmarks.datasets.exclusion import NONE, default_rule
from benchmarks.datasets.formats.collection import USUAL, ColumnNames
from rerankers.files.paths import existing_path

OWN = "own"
"""Stands, in place of a path, for the judgements that come with a dataset."""

JudgementsName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]


class Columns(BaseModel):
    """The names of columns or keys in a collection of one's own; usual names are found without it.

    Attributes:
        doc_id: the column of a passage's id.
        title: the column of a passage's title.
        text: the column of a passage's text.
        query_id: the column of a query's id.
        query: the column of a query's text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    doc_id: str | None = None
    title: str | None = None
    text: str | None = None
    query_id: str | None = None
    query: str | None = None


class DatasetSpec(BaseModel):
    """The dataset to use. A plain string stands for `id`, or for the folder or candidates file it names.

    Attributes:
        id: an ir_datasets id such as `msmarco-passage/trec-dl-2019/judged`, or `bundled`.
        folder: a folder with `corpus` (or `docs`), `queries` and perhaps `qrels/*.tsv`; `.jsonl`, `.csv`,
            `.tsv` or `.parquet`.
        documents: a file of passages in one of these forms: id, text, and perhaps title.
        queries: the file of queries that goes with `documents`: id and text.
        columns: what `folder`, or `documents` and `queries`, call these, where the names are not found.
        split: which file of `qrels/` to use, without its suffix; not needed if there is one, or a `test`.
        candidates: a file of queries with their hits; see `benchmarks.candidates.file`.
        qrels: judgements for `candidates` or `documents`, in TREC's or BEIR's format, or JSON lines.
        judgements: several sets of judgements side by side, by name: a file each, or `own` for those that
            come with an id or a folder. The headline and its tests rest on the first; systems are measured by
            each of the others too.
        query_field: the field of an ir_datasets query that is its text, such as `gpt4_reason` of BRIGHT; by
            default ir_datasets' choice, or `text`.
        retrieval_query_field: the field of a query that is its text for the first stage alone; rerankers get
            the query's own text. Of ir_datasets' queries, or of a file of queries.
        instruction_field: the field of a query that is its own instruction, in place of `instruction`.
        exclude: passages that leave the candidate set before it is frozen: `identical-id` (a passage with
            the query's id), `negative-grades`, `none`, or a file with two columns, query id and doc id. By
            default `negative-grades` for `bright/...`, `identical-id` for ArguAna and Quora (of BEIR and
            NanoBEIR, and folders of these names), and `none` for others.
        instruction: what passages are to be judged by, for rerankers that read an instruction and are given
            none of their own, such as Qwen3-Reranker; recorded with their results.
        name: how tables call the dataset; by default what it was opened by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str | None = Field(default=None, min_length=1)
    folder: str | None = Field(default=None, min_length=1)
    documents: str | None = Field(default=None, min_length=1)
    queries: str | None = Field(default=None, min_length=1)
    columns: Columns | None = None
    split: str | None = Field(default=None, min_length=1)
    candidates: str | None = Field(default=None, min_length=1)
    qrels: str | None = Field(default=None, min_length=1)
    judgements: dict[JudgementsName, Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, min_length=1
    )
    query_field: str | None = Field(default=None, min_length=1)
    retrieval_query_field: str | None = Field(default=None, min_length=1)
    instruction_field: str | None = Field(default=None, min_length=1)
    exclude: str | None = Field(default=None, min_length=1)
    instruction: str | None = Field(default=None, min_length=1)
    name: str | None = Field(default=None, min_length=1)

    @property
    def column_names(self) -> ColumnNames:
        """The column names of the dataset's files, as the readers take them."""
        return ColumnNames(**self.columns.model_dump()) if self.columns else USUAL

    @property
    def exclusion(self) -> str | None:
        """The exclusion rule in force: the chosen one, or the dataset's default; None without either."""
        return self.exclude or default_rule(self.id, None if self.folder is None else Path(self.folder))

    @property
    def qrels_file(self) -> str | None:
        """The path of the file with the main judgements; None where the dataset has its own, or none."""
        first = next(iter((self.judgements or {}).values()), None)
        return self.qrels if first is None else None if first == OWN else first

    @property
    def main_judgements(self) -> str:
        """The name of the first set of `judgements`, on which the headline rests; "" without named sets."""
        return next(iter(self.judgements or {}), "")

    @property
    def further_judgements(self) -> dict[str, str]:
        """The path, or `own`, of each set of `judgements` after the first, by name."""
        return dict([*(self.judgements or {}).items()][1:])

    def identity(self) -> dict[str, Any]:
        """Return the options that define a candidate set, as JSON values.

        The oldest options always appear. Options that were added later appear only where they are used, so
        that older candidate sets keep their identity.
        """
        first = self.model_dump(include={"id", "folder", "split", "candidates"})
        first["qrels"] = self.qrels_file
        added = {
            "documents",
            "queries",
            "columns",
            "query_field",
            "retrieval_query_field",
            "instruction_field",
        }
        values = {**first, **self.model_dump(include=added, exclude_none=True)}
        if self.exclusion not in (None, NONE):
            values["exclude"] = self.exclusion
        return values

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        """Turn a string into options (candidates file, folder or id); return other values unchanged."""
        if not isinstance(value, str):
            return value
        if candidates_stem(Path(value)) is not None:
            return {"candidates": value}
        path = None if value in ("", "bundled") else existing_path(value)
        is_path = value.startswith((".", "/", "~")) or (path is not None and path.is_dir())
        return {"folder": value} if is_path else {"id": value}

    @model_validator(mode="after")
    def _is_one_kind(self) -> DatasetSpec:
        """Check that exactly one kind of dataset is named, with options that fit it.

        Raises:
            ValueError: several kinds or none, or an option of another kind.
        """
        if sum(kind is not None for kind in (self.id, self.folder, self.candidates, self.documents)) != 1:
            raise ValueError("a dataset has exactly one of id, folder, candidates and documents")
        if (self.documents is None) != (self.queries is None):
            raise ValueError("documents and queries go together: two files")
        if self.qrels is not None and self.candidates is None and self.documents is None:
            raise ValueError("qrels goes with candidates or documents; a folder has its own in qrels/")
        self._check_judgements()
        if self.columns is not None and self.folder is None and self.documents is None:
            raise ValueError("columns goes with folder or documents")
        by_field = self.retrieval_query_field or self.instruction_field
        if by_field is not None and self.candidates is not None:
            raise ValueError(
                "a candidates file has no further fields of its queries; name an id, a folder or documents"
            )
        if self.split is not None and self.folder is None:
            raise ValueError("split goes with folder; an ir_datasets id names its own split")
        if self.query_field is not None and self.id in (None, "bundled"):
            raise ValueError("query_field goes with an ir_datasets id")
        return self

    def _check_judgements(self) -> None:
        """Check that `judgements` goes without `qrels`, names files once, and says `own` where it may.

        Raises:
            ValueError: one of these is not so.
        """
        if self.judgements is None:
            return
        if self.qrels is not None:
            raise ValueError("qrels and judgements are both given; name the file of qrels in judgements")
        paths = [*self.judgements.values()]
        if len({*paths}) < len(paths):
            raise ValueError("judgements names one file twice; give each set a file of its own")
        if OWN in paths and self.id is None and self.folder is None:
            raise ValueError(f"judgements: {OWN} goes with an id or a folder; name a file")

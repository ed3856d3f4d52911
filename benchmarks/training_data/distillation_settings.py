"""Settings of a distillation: dataset, queries, candidates and teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmarks.datasets.specs import DatasetSpec
from benchmarks.first_stages.specs import FirstStageSpec
from benchmarks.training_data.files import find_settings, read_settings
from benchmarks.training_data.queries.settings import EvaluationQueries, GivenQueries, QuerySource

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Strict(BaseModel):
    """The base of all settings here: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Candidates(_Strict):
    """The rule by which a query's list is drawn from its hits.

    Attributes:
        depth: number of hits that the first stage retrieves.
        per_list: number of passages in a list.
        at: `top` takes the first ones; `mixed` draws from the first d, with d drawn between `per_list` and
            `depth`, evenly on a logarithmic scale: some lists are hard to order, some easy.
        shuffle: put the list in random order; otherwise it keeps the first stage's.
    """

    depth: int = Field(default=100, ge=2)
    per_list: int = Field(default=20, ge=2)
    at: Literal["top", "mixed"] = "mixed"
    shuffle: bool = True

    @model_validator(mode="after")
    def _is_deep_enough(self) -> Candidates:
        """Raise ValueError if `depth` is less than `per_list`."""
        if self.depth < self.per_list:
            raise ValueError(f"depth {self.depth} is less than per_list {self.per_list}; ask for more")
        return self


class Teacher(_Strict):
    """The reranker that orders the lists. A plain string stands for its name.

    Attributes:
        name: registered name, see `rerankbench list rerankers`, or `module:Class`.
        options: its options.
    """

    name: str
    options: dict[str, Any] = {}


def _named(value: Any) -> Any:
    """Return `{"name": value}` for a string, other values unchanged."""
    return {"name": value} if isinstance(value, str) else value


class Distillation(_Strict):
    """Settings of a distillation: which lists are drawn for which queries, and who orders them.

    Attributes:
        dataset: id or folder; with several splits, name the one to train on.
        first_stage: retrieval method that proposes the candidates.
        candidates: how a list is drawn from them.
        teacher: the registered reranker that orders the list.
        qrels_first: whether passages judged relevant come first, best grade first, before the teacher's
            order; those that the first stage retrieved are always in the list. The passage that a query was
            written about counts as judged relevant.
        queries: `judged` takes the dataset's queries with judgements, `all` takes every one; `titles`, `chat`
            and `seq2seq` make them from passages. By default the judged ones if there are any.
        test_queries: queries of evaluations. No training query may equal or nearly equal one of them, nor one
            of the dataset's own test queries; see `benchmarks.training_data.queries.near_duplicates`.
        skip: number of queries to leave out at the start of the seed's order, such as held-out ones.
        limit: number of lists; the lists of a shorter file are the first lists of a longer one.
        batch: number of lists that the teacher gets at once.
        budget: dollars that calls of endpoints may cost, for questions and by the teacher, earlier runs into
            the same file included; the ledger lies beside the file, `FILE.jsonl.spending`.
        seed: seed of the order of queries, of the draws and of the shuffling.
    """

    dataset: DatasetSpec
    first_stage: FirstStageSpec
    candidates: Candidates = Candidates()
    teacher: Annotated[Teacher, BeforeValidator(_named)]
    qrels_first: bool = False
    queries: QuerySource | None = None
    test_queries: list[EvaluationQueries] = []
    skip: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=1)
    batch: int = Field(default=16, ge=1)
    budget: float | None = Field(default=None, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _has_candidates_for_made_queries(self) -> Distillation:
        """Raise ValueError if queries are made from passages and the first stage is a fixed run."""
        if self.makes_queries and self.first_stage.kind in ("run", "given"):
            raise ValueError(
                f"first_stage {self.first_stage.kind} has no candidates for queries that are made from "
                "passages; use bm25 or dense"
            )
        return self

    @property
    def makes_queries(self) -> bool:
        """True if queries are made from the dataset's passages."""
        return self.queries is not None and not isinstance(self.queries, GivenQueries)


def load_distillation(name: str, overrides: Sequence[str] = ()) -> Distillation:
    """Read and validate a distillation's settings file, given its path or the name of a ready one.

    `overrides` are `key=value` assignments.

    Raises:
        InputError: `file:line: what is wrong`.
    """
    return read_settings(find_settings(name), Distillation, overrides)

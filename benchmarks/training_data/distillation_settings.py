"""Settings of a distillation: whose passages and queries, which candidates, which teacher."""

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
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Candidates(_Strict):
    """The choice of a query's hits that become its list.

    Attributes:
        depth: hits asked of the first stage.
        per_list: passages in a list.
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
        if self.depth < self.per_list:
            raise ValueError(f"depth {self.depth} is less than per_list {self.per_list}; ask for more")
        return self


class Teacher(_Strict):
    """The reranker that orders the lists. A plain string stands for its name.

    Attributes:
        name: as `rerankbench list rerankers` shows it, or `module:Class`.
        options: its options.
    """

    name: str
    options: dict[str, Any] = {}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Distillation(_Strict):
    """Settings of a distillation.

    Attributes:
        dataset: id or folder; with several splits, name the one to train on.
        first_stage: what proposes the candidates.
        candidates: which of them become a list.
        teacher: the registered reranker that orders it.
        qrels_first: passages judged relevant come first, best grade first, and the teacher orders the rest;
            those that the first stage found are always in the list. The passage that a query was made from
            counts as judged relevant.
        queries: `judged` takes the dataset's queries with judgements, `all` takes every one; `titles`, `chat`
            and `seq2seq` make them from passages. By default the judged ones if there are any.
        test_queries: queries of evaluations. No training query may equal or nearly equal one of them, nor one
            of the dataset's own test queries; see `benchmarks.training_data.queries.near_duplicates`.
        skip: leave out so many queries at the start of the seed's order, such as those that are held out.
        limit: how many lists; the first lists of a longer file are those of a shorter one.
        batch: lists given to the teacher at once.
        budget: dollars that calls of endpoints may cost, for questions and by the teacher, earlier runs into
            the same file included; the ledger lies beside the file, `FILE.jsonl.spending`.
        seed: of the order of queries, of the draws and of the shuffling.
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
        if self.makes_queries and self.first_stage.kind in ("run", "given"):
            raise ValueError(
                f"first_stage {self.first_stage.kind} has no candidates for queries that are made from "
                "passages; use bm25 or dense"
            )
        return self

    @property
    def makes_queries(self) -> bool:
        """Return whether queries are made from the dataset's passages."""
        return self.queries is not None and not isinstance(self.queries, GivenQueries)


def load_distillation(name: str, overrides: Sequence[str] = ()) -> Distillation:
    """Read a settings file, or a ready one by its name.

    Raises:
        InputError: `file:line: what is wrong`.
    """
    return read_settings(find_settings(name), Distillation, overrides)

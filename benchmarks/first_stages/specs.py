"""The options of first stages in an experiment file: eight kinds, told apart by `kind`.

A plain string stands for a kind without options, for a registered first stage, or for one of the user's own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmarks.first_stages.registry import FIRST_STAGES
from rerankers.registry import is_own_name


class _Spec(BaseModel):
    """The options of a first stage in an experiment file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def identity(self) -> dict[str, Any]:
        """Return the options that define the candidates, as JSON values; the name in tables is left out."""
        return self.model_dump(exclude={"name"})

    @property
    def own_code(self) -> str | None:
        """The `module:name` of the user's own code that proposes the candidates; None without such code."""
        return None


class Bm25(_Spec):
    """BM25 through Lucene.

    Attributes:
        k1: how slowly repeated words stop counting.
        b: how much long passages are discounted, 0 to 1.
        index: a prebuilt index of pyserini; by default one is built from the dataset's passages.
        language: the language of passages and queries, such as `de`, whose analyzer Lucene then uses.
            Languages that Lucene has no analyzer for are cut at white space; by default English is read.
    """

    kind: Literal["bm25"] = "bm25"
    k1: float = Field(default=0.9, ge=0)
    b: float = Field(default=0.4, ge=0, le=1)
    index: str | None = None
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")

    def identity(self) -> dict[str, Any]:
        """Return the options that define the candidates, as JSON values; `language` only where it is set."""
        values = super().identity()
        return {key: value for key, value in values.items() if (key, value) != ("language", None)}


class Dense(_Spec):
    """Exact search by an encoder's similarity of query and passage: cosine or inner product.

    Attributes:
        encoder: the embedding model, as `rerankers.models.locate` names models.
        options: further options of `rerankers.encoders.encoder.Encoder`.
    """

    kind: Literal["dense"]
    encoder: str
    options: dict[str, Any] = {}


class Run(_Spec):
    """Candidates from a TREC run file, plain or compressed.

    Attributes:
        path: the file.
        name: the first stage's name in tables; by default the file's name.
    """

    kind: Literal["run"]
    path: str
    name: str | None = None


class PyTerrier(_Spec):
    """A PyTerrier pipeline of one's own.

    Attributes:
        pipeline: `module:function`, in the working folder or an installed package. The function takes the
            passages, an iterable of `{"docno": ..., "text": ...}`, and returns a transformer from queries to
            results.
        name: the first stage's name in tables; by default the function's name.
        timed: search for one query after the other, and record what each takes; otherwise for all at once.
    """

    kind: Literal["pyterrier"]
    pipeline: str
    name: str | None = None
    timed: bool = True

    @property
    def own_code(self) -> str:
        """The `module:function` that builds the pipeline."""
        return self.pipeline


class Named(_Spec):
    """A first stage by name: `{name: ..., options: {...}}`, or the name alone where there are no options.

    Attributes:
        name: `random`, or `module:Class` of one's own, in the working folder or an installed package.
        options: options that the class declares.
    """

    kind: Literal["named"] = "named"
    name: str
    options: dict[str, Any] = {}

    @property
    def own_code(self) -> str | None:
        """The `module:Class` of a first stage of one's own; None for a registered one."""
        return None if self.name in FIRST_STAGES else self.name

    def identity(self) -> dict[str, Any]:
        """Return the options that define the candidates, as JSON values: all of them."""
        return self.model_dump()


class Given(_Spec):
    """The candidates that the dataset brings along, in its own order."""

    kind: Literal["given"] = "given"


class ScoredDocs(_Spec):
    """The official first-stage ranking that ir_datasets has for some datasets; it is not timed."""

    kind: Literal["scoreddocs"]


def _from_string(value: Any) -> Any:
    """Turn a first stage's plain name, or a mapping of `name` and `options`, into a mapping with its `kind`.

    Other values are returned unchanged.
    """
    if isinstance(value, str):
        is_name = value in FIRST_STAGES or is_own_name(value)
        return {"kind": "named", "name": value} if is_name else {"kind": value}
    if isinstance(value, dict) and "name" in value and value.keys() <= {"name", "options"}:
        return {"kind": "named", **value}
    return value


Component = Annotated[
    Annotated[Bm25 | Dense | Run | PyTerrier | Named | Given | ScoredDocs, Field(discriminator="kind")],
    BeforeValidator(_from_string),
]
"""A first stage that can be a part of a hybrid."""


class Hybrid(_Spec):
    """Reciprocal rank fusion of several first stages (Cormack, Clarke, Büttcher, SIGIR 2009).

    Attributes:
        parts: the first stages; the score is the sum of 1 / (k + rank) over those that found a passage.
        k: damps the head of each ranking; 60 in the paper.
        part_depth: candidates that each part proposes; by default as many as the hybrid does.
    """

    kind: Literal["hybrid"]
    parts: list[Component] = Field(min_length=2)
    k: float = Field(default=60.0, gt=0)
    part_depth: int | None = Field(default=None, ge=1)


FirstStageSpec = Annotated[
    Annotated[
        Bm25 | Dense | Run | PyTerrier | Named | Given | ScoredDocs | Hybrid,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_from_string),
]


def components_of(spec: FirstStageSpec) -> list[Any]:
    """Return the parts of a hybrid; of any other first stage a list of itself."""
    return [*spec.parts] if isinstance(spec, Hybrid) else [spec]

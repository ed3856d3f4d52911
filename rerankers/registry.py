"""Every reranker by name: one row a method, imported on first use.

To add a method, write `rerankers/<method>.py` with one `Reranker` subclass and add its row here; the contract
suite then tests it, the command line lists it, and experiments can name it. Options are read from the
constructor's signature (`rerankers.options`).

A reranker of your own needs no row: name it `package.module:Class`, in a package that is installed or a file
in the working folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rerankers.errors import InputError, MissingExtraError, OptionError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerankers.interface import Capabilities, Reranker
    from rerankers.options import Options


@dataclass(frozen=True, slots=True)
class Row:
    """Where a method lives, the extra its imports need, and one line that says what it is."""

    target: str
    summary: str
    extra: str | None = None


ROWS: dict[str, Row] = {
    "first-stage": Row("rerankers.baselines:FirstStage", "keeps the first stage's order (the baseline)"),
    "reverse": Row("rerankers.baselines:Reverse", "turns the first stage's order around (control)"),
    "random": Row("rerankers.baselines:Random", "shuffles with a seed (control)"),
    "oracle": Row(
        "rerankers.baselines:Oracle", "sorts by the relevance grades: the reachable optimum (control)"
    ),
    "embedding": Row(
        "rerankers.pointwise.embedding:EmbeddingReranker", "cosine of query and passage embeddings"
    ),
    "cross-encoder": Row(
        "rerankers.pointwise.cross_encoder:CrossEncoderReranker",
        "a sequence classifier reads query and passage together",
    ),
    "query-likelihood": Row(
        "rerankers.pointwise.query_likelihood:QueryLikelihood",
        "mean log-probability of the query given the passage (UPR, arXiv 2204.07496)",
    ),
    "causal-yes-no": Row(
        "rerankers.pointwise.causal_yes_no:CausalYesNo",
        "log-probability that a causal LM answers yes (Qwen3-Reranker, mxbai-rerank-v2, BGE-gemma)",
    ),
    "rank1": Row(
        "rerankers.pointwise.rank1:Rank1",
        "a reasoning model thinks about each passage, then says true or false (arXiv 2502.18418)",
    ),
    "mono-t5": Row(
        "rerankers.pointwise.mono_t5:MonoT5", "log-probability that T5 answers true (arXiv 2003.06713)"
    ),
    "late-interaction": Row(
        "rerankers.pointwise.late_interaction:LateInteraction",
        "MaxSim over token embeddings (ColBERT, arXiv 2004.12832)",
    ),
    "rerank-api": Row(
        "rerankers.endpoints.rerank_api:RerankAPI",
        "a rerank endpoint: Jina, Cohere, Voyage, vLLM, infinity, TEI",
    ),
    "fusion": Row("rerankers.composite.fusion:Fusion", "reciprocal rank fusion of several rerankers"),
    "cascade": Row(
        "rerankers.composite.cascade:Cascade", "one reranker orders many candidates, the next the best"
    ),
    "rankgpt": Row(
        "rerankers.listwise.rankgpt:RankGPT", "a chat model orders windows of text (arXiv 2304.09542)"
    ),
    "first": Row(
        "rerankers.listwise.first:First",
        "one forward pass orders a window by letters' logits (arXiv 2406.15657)",
    ),
    "icr": Row(
        "rerankers.listwise.icr:ICR",
        "the attention that the query pays to each passage (ICR, arXiv 2410.02642; QRHead, arXiv 2506.09944)",
    ),
    "pairwise": Row(
        "rerankers.comparisons.pairwise:Pairwise",
        "a chat model compares two passages at a time (arXiv 2306.17563)",
    ),
    "setwise": Row(
        "rerankers.comparisons.setwise:Setwise",
        "a chat model picks the best of a few passages (arXiv 2310.09497)",
    ),
    "e2rank": Row(
        "rerankers.listwise.e2rank:E2Rank",
        "cosine of passages with a listwise prompt that is embedded as a query (arXiv 2510.22733)",
    ),
    "jina-v3": Row(
        "rerankers.listwise.jina_v3:JinaV3",
        "embeddings of query and passages from one prompt (jina-reranker-v3, arXiv 2509.25085)",
    ),
    "pe-rank": Row(
        "rerankers.pe_rank.reranker:PERank",
        "an LLM orders passages given as single embeddings (arXiv 2406.14848)",
    ),
}


def find_row(name: str) -> Row:
    """Return the row of a registered name, or one made for `package.module:Class`.

    Raises:
        UnknownNameError: it is neither.
    """
    if name in ROWS:
        return ROWS[name]
    if re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name) is None:
        raise UnknownNameError("reranker", name, ROWS)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file here replaces a package
    return Row(name, "your own")


def load(name: str) -> type[Reranker]:
    """Return the class behind a name.

    Raises:
        UnknownNameError: nobody registered it.
        MissingExtraError: it needs packages that are not installed.
        InputError: it names a class of your own that cannot be imported, or is no reranker.
    """
    row = find_row(name)
    module, _, attribute = row.target.partition(":")
    if name not in ROWS:
        return _load_own(name)
    try:
        return cast("type[Reranker]", getattr(importlib.import_module(module), attribute))
    except ModuleNotFoundError as error:
        if row.extra is None:
            raise
        raise MissingExtraError(f"reranker {name!r}", row.extra) from error


def own_object(name: str, kind: str) -> Any:
    """Return what `module:name` means, a class or a function of the user's own; None if the module lacks it.

    Args:
        name: in the working folder or an installed package.
        kind: what it is to be, for errors.

    Raises:
        InputError: the name is not of this form, or there is no such module.
    """
    if re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name) is None:
        raise InputError(f"{kind} {name!r}: not a name of the form module:name. Correct it")
    module, _, attribute = find_row(name).target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{module} needs the package {error.name!r}; install it") from error
        raise _no_module(module) from error


def _load_own(name: str) -> type[Reranker]:
    from rerankers.interface import Reranker

    module, _, attribute = name.partition(":")
    found = own_object(name, "reranker")
    if not (inspect.isclass(found) and issubclass(found, Reranker)):
        raise InputError(
            f"{module} has no class {attribute!r} that is a rerankers.Reranker; correct the name"
        )
    return found


def source_of(name: str) -> Path:
    """Return the file that a reranker, or another object of the user's own, is written in.

    Raises:
        UnknownNameError: the reranker is unknown.
        InputError: there is no such file.
    """
    module = find_row(name).target.partition(":")[0]
    try:
        specification = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a package above it is not there
        specification = None
    if specification is None or specification.origin is None:
        raise _no_module(module)
    return Path(specification.origin)


def _no_module(module: str) -> InputError:
    """Return the error for a module of a reranker's that is not there."""
    return InputError(
        f"no module {module!r}; start rerankbench in the folder of {module.partition('.')[0]}.py, "
        "or install its package"
    )


def validated(name: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Check a reranker's options without making it: types and bounds, and whether they fit each other.

    Returns:
        every option by name, defaults included.

    Raises:
        UnknownNameError: the reranker or an option is unknown.
        InputError: an option is missing, is not allowed, or does not fit the others.
    """
    constructor = load(name)
    values = dict(_options_of(constructor).validate(name, options))
    constructor.check_options(values)
    return values


def capabilities(name: str, options: Mapping[str, object]) -> Capabilities:
    """Tell what a reranker with these options loads and calls; nothing is loaded.

    Raises:
        InputError: as `validated`.
    """
    from rerankers.interface import Reranker

    constructor = load(name)
    stated = constructor.capabilities(validated(name, options))
    if stated.embeds_passages is None and constructor.prepare is Reranker.prepare:
        return replace(stated, embeds_passages=False)
    return stated


def create(name: str, options: Mapping[str, object] | None = None, /, **named: object) -> Reranker:
    """Construct a reranker from its name and options.

    Args:
        name: as `rerankbench list rerankers` gives it, or `module:Class`.
        options: the options as an experiment file gives them. A reranker that looks at the judgements takes
            them as the option `qrels`.
        named: the same, as keywords: `create("cross-encoder", model="./my-model")`.

    Raises:
        InputError: an option is unknown or does not validate; the message names it.
    """
    options = {**(options or {}), **named}
    constructor = load(name)
    own = {option: value for option, value in options.items() if option != "qrels"}
    qrels = {"qrels": options["qrels"]} if "qrels" in options else {}
    if constructor.needs_qrels and not qrels:
        raise OptionError(f"{name} needs the option 'qrels'", "qrels")
    if qrels and not constructor.needs_qrels:
        own |= qrels
        qrels = {}
    validated(name, own)
    return constructor(**_options_of(constructor).arguments(own), **qrels)


def _options_of(constructor: type[Reranker]) -> Options:
    from rerankers.options import options_of  # pydantic, which the command line starts without

    return options_of(constructor)

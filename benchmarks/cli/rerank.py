"""Reranks a file of candidates into a TREC run, without measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates.file import read_candidates
from benchmarks.measuring.progress import say
from benchmarks.results.exchange.trec import trec_lines
from benchmarks.results.output_faults import OutputFaults
from rerankers.endpoints.prices import Budget
from rerankers.errors import BackendError, InputError
from rerankers.files.writing import atomic_file
from rerankers.interface import Candidate, RerankRequest
from rerankers.progress import Activity
from rerankers.registry import create, validated
from rerankers.stages import StageClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def rerank_file(
    name: str, options: Mapping[str, object], candidates: Path, output: Path, budget: float | None = None
) -> None:
    """Rerank every query of a candidates file and write the rankings to a TREC run.

    The run appears only when it is complete.

    Args:
        name: the reranker.
        options: its options.
        candidates: the candidates file.
        output: the run to write.
        budget: dollars that calls of endpoints may cost; None for no limit.

    Raises:
        BackendError: not one output of the model was well-formed; nothing is written.
        InputError: the reranker, an option, the candidates file or the output's folder is wrong.
    """
    checked = validated(name, options)
    if checked.needs_qrels:
        raise InputError(
            f"{name} looks at the relevance grades, and a candidates file has none; name another"
        )
    file = read_candidates(candidates, ids_are_local=True)
    if not output.parent.is_dir():
        raise InputError(f"{output.parent}: no such folder for the output; make it first")
    reranker = create(name, options)
    clock = StageClock()
    faults = OutputFaults()
    try:
        if budget is not None:
            reranker.pay_from(Budget(budget))
        with atomic_file(output) as run, Activity(name, len(file.queries), unit="query") as progress:
            for query_id, query in file.queries.items():
                hits = file.hits[query_id]
                passages = (
                    Candidate(query_id, doc_id, file.text(query_id, doc_id), score) for doc_id, score in hits
                )
                request = RerankRequest(query_id, query, tuple(passages))
                for ranking in reranker.rerank([request], clock):
                    run.write(trec_lines(ranking, name))
                    faults.add(ranking.usage.nonzero())
                progress.advance()
            if faults.has_no_good_answer:
                raise BackendError(f"{name}: {faults}. Nothing was written; try another model or prompt")
    except BackendError as error:
        if checked.is_remote and not checked.is_replayed:
            hint = "with the option recording, the answers so far would have been kept"
            raise BackendError(f"{error}; {hint}") from error
        raise
    finally:
        reranker.close()
    if fault_words := str(faults):
        say(f"{name}: {fault_words}")
    say(f"{len(file.queries)} queries in {output}")

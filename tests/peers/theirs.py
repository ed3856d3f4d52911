"""What other programs answer to the same cases, as JSON in the file named; one not installed says why.

Runs in an environment of its own (`tests/peers/requirements.txt`), for PyPI's `rerankers` has the name of our
package. Everything is imported by name, so that nothing here needs to be installed for the type checker.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parents[2]]

from data import CASES, Run, qrels, runs  # type: ignore[import-not-found]  # noqa: E402 - ours are out of reach now

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 0.02
Answers = dict[str, Any]


def _order(permute: Callable[[list[str], str], list[str]]) -> list[Any]:
    """Return a parser's order for each answer; the name of the exception where it stops."""
    orders: list[Any] = []
    for case in CASES["answers"]:
        try:
            passages = [str(place + 1) for place in range(case["count"])]
            orders.append([int(passage) for passage in permute(passages, case["text"])])
        except Exception as error:
            orders.append(type(error).__name__)
    return orders


def rankgpt_of_rerankers() -> Answers:
    """PyPI's `rerankers`: its RankGPT."""
    module = import_module("rerankers.models.rankgpt_rankers")

    def permute(passages: list[str], text: str) -> list[str]:
        item = {"query": "q", "hits": [{"content": passage} for passage in passages]}
        return [hit["content"] for hit in module.receive_permutation(item, text)["hits"]]

    return {"version": version("rerankers"), "parsing": _order(permute)}


def rank_llm() -> Answers:
    """Castorini's rank_llm: parsing and windows of its list-wise rerankers.

    It imports vLLM, which brings CUDA, and a T5 that needs transformers 4. Neither part uses them: stand-ins
    are enough.
    """
    for name in ("vllm", "vllm.outputs", "rank_llm.rerank.listwise.lit5.modeling_t5"):
        sys.modules.setdefault(name, MagicMock())
    module = import_module("rank_llm.rerank.listwise.listwise_rankllm")
    handlers = import_module("rank_llm.rerank.listwise.singleturn_listwise_inference_handler")
    handler = handlers.SingleTurnListwiseInferenceHandler
    clean = SimpleNamespace(_clean_response=lambda text, **kind: handler._clean_response(None, text, **kind))
    base = module.ListwiseRankLLM

    def permute(passages: list[str], text: str) -> list[str]:
        candidates = [SimpleNamespace(passage=passage, score=None) for passage in passages]
        this = SimpleNamespace(_inference_handler=clean, _use_alpha=False)
        this._remove_duplicate = lambda places: base._remove_duplicate(this, places)
        result = SimpleNamespace(candidates=candidates)
        base.receive_permutation(this, result, text, 0, len(passages))
        return [candidate.passage for candidate in result.candidates]

    windows = []
    for case in CASES["windows"]:
        seen: list[tuple[int, int]] = []

        def note(result: Any, start: int, end: int, *_: Any, seen: list[Any] = seen, **__: Any) -> Any:
            seen.append((start, end))
            return result

        this = SimpleNamespace(_stride=case["step"], _window_size=case["window"], permutation_pipeline=note)
        request = SimpleNamespace(query="q", candidates=[])
        base.sliding_windows(this, request, 0, case["count"], case["count"])
        windows.append(seen)
    return {"version": version("rank-llm"), "parsing": _order(permute), "windows": windows}


def ranx() -> Answers:
    """ranx: nDCG and the paired t-test."""
    module = import_module("ranx")
    grades, runs_by_name = (
        module.Qrels(qrels()),
        {name: module.Run(run, name=name) for name, run in runs().items()},
    )

    def mean(run: Any) -> Any:
        try:
            return float(module.evaluate(grades, run, "ndcg@10"))
        except AssertionError as error:
            return f"refused: {str(error).split('.')[0]}"

    compared = module.compare(
        grades,
        [runs_by_name["good"], runs_by_name["fair"]],
        metrics=["ndcg@10"],
        stat_test="student",
        make_comparable=True,
    )
    p = compared.comparisons["good", "fair"]["ndcg@10"]["p_value"]
    lenient = float(module.evaluate(grades, runs_by_name["missing"], "ndcg@10", make_comparable=True))
    return {
        "version": version("ranx"),
        "ndcg": {name: mean(run) for name, run in runs_by_name.items()}
        | {"missing, made comparable": lenient},
        "p": float(p),
    }


def pyterrier() -> Answers:
    """PyTerrier: nDCG, the paired t-test and mean response times of `pt.Experiment`."""
    pt, pandas = import_module("pyterrier"), import_module("pandas")
    topics = pandas.DataFrame([{"qid": query, "query": "q"} for query in qrels()])
    judged = pandas.DataFrame(
        [
            {"qid": query, "docno": doc, "label": grade}
            for query, row in qrels().items()
            for doc, grade in row.items()
        ]
    )

    def table(run: Run) -> Any:
        rows = [
            {"qid": query, "docno": doc, "score": score, "rank": rank, "query": "q"}
            for query, hits in run.items()
            for rank, (doc, score) in enumerate(hits.items())
        ]
        return pandas.DataFrame(rows)

    tables_by_name = {name: table(run) for name, run in runs().items()}
    measure = import_module("ir_measures").parse_measure("nDCG@10")
    experiment = pt.Experiment(
        list(tables_by_name.values()), topics, judged, [measure], names=list(tables_by_name)
    )
    tested = pt.Experiment(
        [tables_by_name["good"], tables_by_name["fair"]],
        topics,
        judged,
        [measure],
        names=["a", "b"],
        baseline=0,
    )

    def slow(frame: Any) -> Any:
        time.sleep(SECONDS * len(frame))
        return tables_by_name["good"][tables_by_name["good"].qid.isin(frame.qid)]

    timed = pt.Experiment([pt.apply.generic(slow)], topics, judged, [measure, "mrt"], names=["slow"])
    return {
        "version": version("python-terrier"),
        "ndcg": {row["name"]: float(row["nDCG@10"]) for _, row in experiment.iterrows()},
        "p": float(tested["nDCG@10 p-value"].iloc[1]),
        "latency": float(timed["mrt"].iloc[0]) / 1000.0,  # milliseconds
    }


def sentence_transformers() -> Answers:
    """sentence-transformers: the evaluator of cross-encoders, which knows relevant and not relevant alone."""
    module = import_module("sentence_transformers.cross_encoder.evaluation")
    lists = {}
    for name, run in runs().items():
        samples: list[dict[str, Any]] = []
        scores: dict[tuple[str, str], float] = {}
        for query, hits in run.items():
            positive = [doc for doc, grade in qrels()[query].items() if grade > 0]
            documents = list(hits)
            samples.append({"query": query, "positive": positive, "documents": documents})
            scores |= {(query, doc): score for doc, score in hits.items()}
        model = SimpleNamespace(
            predict=lambda pairs, scores=scores, **_: import_module("numpy").array(
                [scores.get(tuple(pair), -1.0) for pair in pairs]
            ),
            model_card_data=SimpleNamespace(set_evaluation_metrics=lambda *_: None),
        )
        for always in (True, False):
            evaluator = module.CrossEncoderRerankingEvaluator(
                samples, always_rerank_positives=always, show_progress_bar=False, write_csv=False
            )
            evaluator.store_metrics_in_model_card_data = lambda *_, **__: None
            lists[name if not always else f"{name}, positives added"] = float(evaluator(model)["ndcg@10"])
    return {"version": version("sentence-transformers"), "ndcg": lists}


PEERS = {
    "rank_llm": rank_llm,
    "rerankers (PyPI)": rankgpt_of_rerankers,
    "ranx": ranx,
    "PyTerrier": pyterrier,
    "sentence-transformers": sentence_transformers,
}


def main() -> None:
    """Answer for every peer that is installed."""
    answers: dict[str, Answers] = {}
    for name, ask in PEERS.items():
        try:
            with redirect_stdout(sys.stderr):
                answers[name] = ask()
        except Exception as error:
            answers[name] = {"skipped": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    Path(sys.argv[1]).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()

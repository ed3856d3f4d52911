"""Converts queries with relevant and other passages into candidates and judgements: `rerankbench convert`.

Such data have no first stage, and often list relevant passages first. Candidates are therefore put into the
order of a hash of query and text, so that relevant passages do not stand first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.datasets.formats.labelled import read_labelled, text_hash
from benchmarks.datasets.formats.mteb import read_mteb
from benchmarks.results.exchange.interchange import candidate_line
from rerankers.errors import InputError, StoreError
from rerankers.files.writing import replace_file

if TYPE_CHECKING:
    from pathlib import Path


class Converted(NamedTuple):
    """Counts of converted queries and passages.

    Attributes:
        queries: number of queries written.
        passages: number of distinct passages written.
        without_candidates: number of judged queries without candidates, each of which counts 0.
    """

    queries: int
    passages: int
    without_candidates: int


def convert(source: Path, folder: Path) -> Converted:
    """Convert labelled data to `candidates.jsonl` and `qrels.txt` in a folder; return the counts.

    Args:
        source: a file of queries with passages, or a folder in MTEB's layout.
        folder: the output folder, created if it is missing.

    Raises:
        InputError: a line is wrong, or the source is neither a file nor a folder in MTEB's layout.
        MissingExtraError: the data are Parquet, and pyarrow is not installed.
        StoreError: the files cannot be written.
    """
    is_layout = source.is_dir() or (not source.exists() and any(source.parent.glob(f"{source.name}-corpus*")))
    lines: list[str] = []
    judged: list[str] = []
    seen: set[str] = set()
    without_candidates = 0
    for query_id, query, passages, grades in read_mteb(source) if is_layout else read_labelled(source):
        order = sorted(passages, key=lambda doc_id: (text_hash(f"{query}\n{passages[doc_id]}"), doc_id))
        hits = [(doc_id, float(len(order) - rank), passages[doc_id]) for rank, doc_id in enumerate(order)]
        lines.append(candidate_line("rank-llm", query_id, query, hits))
        judged += [f"{query_id} 0 {doc_id} {grade}\n" for doc_id, grade in grades.items()]
        seen |= passages.keys()
        without_candidates += not passages
    if not judged:
        raise InputError.at(source, None, "holds no judged passage; check how it was made")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror}); choose another --out") from error
    replace_file(folder / "candidates.jsonl", "".join(lines))
    replace_file(folder / "qrels.txt", "".join(judged))
    return Converted(len(lines), len(seen), without_candidates)

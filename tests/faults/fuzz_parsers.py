"""Coverage-guided fuzzing of every parser of outside text, for as long as one likes:

    python -m tox -e fuzz -- -max_total_time=600

Each input goes to all of them. A parser may refuse it in one line that names the file; any other exception,
and an answer of a model that is no permutation, is a find, which atheris writes to a file of its own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["rerankers", "benchmarks"], enable_loader_override=False):
    from benchmarks.candidates.file import read_candidates
    from benchmarks.datasets.formats.labelled import read_labelled
    from benchmarks.datasets.readers import read_qrels, read_run
    from benchmarks.experiments.files.marked_yaml import MarkedYaml
    from rerankers.errors import InputError
    from rerankers.listwise.permutation import is_decided, parse
    from rerankers.training.data.records import read_alignment, read_ranking

COUNT = 20
SEEDS = (
    b"[2] > [1] > [3]",
    b"<think>[4]</think> The 20 passages: [1] > [2]",
    b"q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 1.5 tag\n",
    b"q1 0 d1 1\n",
    b"query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    b'{"query": {"text": "t", "qid": "q"}, "hits": [{"content": "c", "docid": "d", "score": 1.5}]}\n',
    b'[{"qid": "q", "query": "t", "docno": "d", "text": "c", "rank": 1}]',
    b'{"query": "t", "pos": ["a"], "neg": ["b"]}\n',
    b'{"q1": {"d1": 1}}',
    b"7\t11\t1\t2.5\n",
    b'{"query": "t", "passages": ["a", "b"], "ranking": [1, 0]}\n',
    b'{"messages": [{"role": "assistant", "content": "a"}], "extra_texts": ["a"]}\n',
    b"name: test\nrerankers: [{name: random, options: {seed: [0, 1]}}]\n",
)
READERS = (read_candidates, read_labelled, read_run, read_qrels, read_ranking, read_alignment, MarkedYaml)


def main() -> None:
    """Fuzz until told otherwise; arguments are libFuzzer's."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "input"

        def fuzz_case(data: bytes) -> None:
            text = data.decode("utf-8", "surrogateescape")
            if sorted(parse(text, COUNT).order) != list(range(COUNT)):
                raise AssertionError("an answer became no permutation")
            is_decided(text, COUNT, COUNT // 2)
            path.write_bytes(data)
            for read in READERS:
                try:
                    for _ in read(path) if read is read_labelled else (read(path),):
                        pass
                except InputError as error:
                    if not str(error).startswith(str(path)) or len(str(error).splitlines()) != 1:
                        raise AssertionError(f"no line that names the file: {error}") from error

        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS):
            (seeds / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-rss_limit_mb=4096", str(seeds)], fuzz_case)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

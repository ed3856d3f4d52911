"""Experiment files are crossed, swept, checked, and wrong ones are refused with file and line."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from benchmarks.experiments.config import READY, Experiment, find_experiment, load_experiment
from benchmarks.experiments.plan import plan
from benchmarks.first_stages.specs import Run
from rerankers.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = """\
name: test
datasets: bundled
first_stages: bm25
"""


def load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    path = tmp_path / "experiment.yaml"
    path.write_text(dedent(text))
    return load_experiment(path, overrides)[0]


def test_lists_are_crossed_and_options_swept(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    text = """
    name: test
    datasets: [bundled, a.jsonl]
    first_stages: [bm25, {kind: bm25, k1: 1.2}]
    depths: [20, 100]
    rerankers: [first-stage, {name: random, options: {seed: [1, 2, 3]}}]
    """
    cells = plan(load(tmp_path, text))
    assert len(cells) == 2 * 2 * 2 * (1 + 3)
    assert [cell.label for cell in cells[:4]] == [
        "first-stage",
        "random (seed=1)",
        "random (seed=2)",
        "random (seed=3)",
    ]
    assert len({cell.name for cell in cells}) == len(cells)


def test_labels_may_name_the_options_they_vary(tmp_path: Path) -> None:
    text = START + "rerankers: {name: random, label: 'shuffled {seed}', options: {seed: [1, 2]}}"
    assert [cell.label for cell in plan(load(tmp_path, text))] == ["shuffled 1", "shuffled 2"]


def test_a_changed_option_is_a_new_cell_and_a_changed_label_is_not(tmp_path: Path) -> None:
    def name(reranker: str, *overrides: str) -> str:
        return plan(load(tmp_path, START + f"rerankers: {reranker}", *overrides))[0].name

    same = name("{name: random, options: {seed: 1}}")
    assert name("{name: random, label: other, options: {seed: 1}}") == same
    assert name("{name: random, options: {seed: 1}}", "measures=[AP]", "name=other") == same
    assert name("{name: random, options: {seed: 2}}") != same
    assert name("{name: random, options: {seed: 1}}", "limit=3") != same
    assert name("{name: random, options: {seed: 1}}", "protocol.repeats=3") != same


def test_changed_data_are_a_new_cell(tmp_path: Path, write_experiment: Callable[..., Path]) -> None:
    before = plan(load_experiment(write_experiment())[0])[0].name
    (tmp_path / "qrels.txt").write_text("q0 0 q0-d0 1\n")
    assert plan(load_experiment(tmp_path / "experiment.yaml")[0])[0].name != before


def test_paths_start_at_the_experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    text = """
    name: test
    datasets: {folder: data}
    first_stages: {kind: run, path: runs/bm25.trec}
    rerankers: {name: embedding, options: {model: model}}
    out: results
    """
    monkeypatch.chdir("/")
    experiment = load(tmp_path, text)
    inside = str(tmp_path).lstrip("/")  # paths are shown as they lead there from the working folder
    assert experiment.entries[0][0].folder == f"{inside}/data"
    assert isinstance(experiment.first_stages[0], Run)
    assert experiment.first_stages[0].path == f"{inside}/runs/bm25.trec"
    assert experiment.rerankers[0].options == {"model": f"{inside}/model"}
    assert experiment.out == f"{inside}/results"


def test_a_block_can_be_merged_into_another(tmp_path: Path) -> None:
    text = START + "rerankers:\n- &base {name: random, options: {seed: 1}}\n- {<<: *base, label: again}"
    assert [spec.name for spec in load(tmp_path, text).rerankers] == ["random", "random"]


def test_overrides_reach_any_place(tmp_path: Path) -> None:
    text = START + "rerankers: [first-stage, {name: random}]"
    overrides = ("rerankers.1.options.seed=[4, 5]", "protocol.repeats=3", "depths=7", "rerankers.0=reverse")
    experiment = load(tmp_path, text, *overrides)
    assert [spec.name for spec in experiment.rerankers] == ["reverse", "random"]
    assert experiment.rerankers[1].options == {"seed": [4, 5]}
    assert experiment.protocol.repeats == 3
    assert experiment.depths == [7]


@pytest.mark.parametrize(
    "address",
    [
        "http://user:hunter2@localhost:8000/v1",
        "https://hunter2@localhost/v1",
        "https://localhost/v1?api-key=hunter2",
        "https://localhost/v1?version=1&access_Token=hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused_before_anything_could_repeat_it(
    tmp_path: Path, write_experiment: Callable[..., Path], address: str
) -> None:
    chat = {"name": "rankgpt", "options": {"model": "m", "base_url": ["http://localhost/v1", address]}}
    nested = {
        "name": "fusion",
        "options": {"parts": [{"name": "rankgpt", "options": chat["options"]}] * 2},
    }
    for system in (chat, nested):
        with pytest.raises(InputError, match=r"experiment.yaml:\d+: this address holds a password") as caught:
            load_experiment(write_experiment(rerankers=system))
        assert "hunter2" not in str(caught.value)
    load_experiment(write_experiment(rerankers={"name": "rankgpt", "options": {"model": "a@b"}}))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("rerankers: first-stage\nmeasurs: AP", 5, "unknown key 'measurs'; did you mean measures"),
        ("rerankers: frist-stage", 4, "unknown reranker 'frist-stage'; did you mean first-stage"),
        (
            "rerankers:\n- reverse\n- name: random\n  options: {sed: 1}",
            7,
            "unknown option of random 'sed'; did you mean seed",
        ),
        ("rerankers:\n- reverse\n- embedding", 6, "embedding needs the option 'model'"),
        ("rerankers: {name: random, options: {seed: []}}", 4, "at least one value"),
        ("rerankers:\n- reverse\n- reverse", 6, "two systems are called 'reverse'"),
        ("rerankers: {name: random, label: 'r {sed}'}", 4, "{sed} is not one of its options"),
        ("rerankers: []", 4, "at least 1 item"),
        ("depths: [20, -1]\nrerankers: reverse", 4, "greater than or equal to 1"),
        ("depths: twenty\nrerankers: reverse", 4, "valid integer, got 'twenty'"),
        ("protocol:\n  warmupp: 3\nrerankers: reverse", 5, "unknown key 'warmupp'; did you mean warmup"),
        ("protocol:\n  batch_size: 8\nrerankers: reverse", 4, "mode: throughput"),
        ("protocol: {mode: served}\nrerankers: reverse", 4, "goes with served: {rate"),
        ("measures: [AP,\n nDGC@10]\nrerankers: reverse", 5, "did you mean nDCG"),
        ("name: again\nrerankers: reverse", 4, "'name' is given twice"),
        ("rerankers: [reverse", 4, "not valid YAML"),
        ("depths: 10", 1, "'rerankers' is missing"),
        ("store_text: perhaps\nrerankers: reverse", 4, "valid boolean"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, START + text)
    assert str(raised.value).startswith(f"{tmp_path / 'experiment.yaml'}:{line}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("datasets: {foldr: x}\nfirst_stages: bm25", "1: unknown key 'foldr'; did you mean folder"),
        ("datasets: {folder: x, id: y}\nfirst_stages: bm25", "1: .*exactly one"),
        ("datasets: bundled\nfirst_stages: bm52", "2: unknown kind 'bm52'; did you mean bm25"),
        (
            "datasets: bundled\nfirst_stages: [bm25,\n {kind: bm25, k2: 1}]",
            "3: unknown key 'k2'; did you mean k1",
        ),
        ("datasets: bundled\nfirst_stages: {k1: 0.9}", "2: .*kind"),
    ],
)
def test_wrong_data_and_first_stages_are_named_with_their_line(
    tmp_path: Path, section: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"experiment.yaml:{message}"):
        load(tmp_path, f"{section}\nname: test\nrerankers: reverse")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("protocol.repeats=x", "--set protocol.repeats=x: .*valid integer"),
        ("rerankers.0=x", "--set rerankers.0=x: unknown reranker"),
        ("rerankers.7=x", "not one of the list's places 0-0"),
        ("name.x=1", "name is a plain value"),
        ("nothing", "write it as key=value"),
        ("depths=[", "not valid YAML"),
        ("mesures=AP", "--set mesures=AP: unknown key"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, assignment: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, START + "rerankers: [reverse]", assignment)


@pytest.mark.parametrize(
    "content", [b"", b"just text", b"- a\n- b", b"\xff\xfe", b"a: &x [*x]", b"? [1]\n: 2"]
)
def test_what_is_no_experiment_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"experiment\.yaml"):
        load_experiment(path)


def test_aliases_that_stand_for_more_than_memory_holds_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InputError, match=r"experiment.yaml:1: its aliases stand for too much; write it out"):
        load(tmp_path, "\n".join(lines))


def test_a_zero_byte_is_refused_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"experiment.yaml:2: holds a zero byte"):
        load(tmp_path, 'name: x\ndatasets: ["a\\0"]')


def test_an_unknown_experiment_lists_the_ready_ones() -> None:
    with pytest.raises(InputError, match="demo"):
        find_experiment("demmo")


@pytest.mark.parametrize("path", sorted(READY.glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_experiments_are_valid(path: Path) -> None:
    experiment, _ = load_experiment(find_experiment(path.stem))
    assert experiment.name == path.stem
    assert path.read_text().startswith("# ")  # `rerankbench list experiments` shows the first line


def test_a_wrong_option_of_the_last_system_is_found_before_the_first_one_runs(tmp_path: Path) -> None:
    systems = "rerankers:\n- first-stage\n- name: random\n  options:\n    seed: [1, two]"
    with pytest.raises(InputError, match=r"experiment.yaml:8: option 'seed' of random: .* got 'two'"):
        load(tmp_path, START + systems)
    parts = "[{name: first-stage}, {name: random, options: {seed: two}}]"
    with pytest.raises(InputError, match=r"experiment.yaml:4: .*option 'seed' of random: .* got 'two'"):
        load(tmp_path, START + f"rerankers: {{name: fusion, options: {{parts: {parts}}}}}")


def test_options_that_do_not_fit_each_other_are_found_before_anything_loads(tmp_path: Path) -> None:
    def refused(system: str, *overrides: str) -> str:
        with pytest.raises(InputError, match=r"experiment.yaml:4: ") as caught:
            load(tmp_path, START + f"rerankers: {system}", *overrides)
        return str(caught.value)

    assert "window 10" in refused("{name: pe-rank, options: {model: org/none, window: 10, step: 20}}")
    assert "strict" in refused("{name: rankgpt, options: {model: m, top: 10, parsing: strict}}")
    assert "self-hosted" in refused("{name: rerank-api, options: {api: vllm, model: m}}")
    assert "price" in refused("{name: rankgpt, options: {model: unlisted}}", "budget=1")
    steps = "[{name: first-stage}, {name: rankgpt, options: {model: unlisted}}]"
    nested = f"{{name: cascade, options: {{steps: {steps}}}}}"
    assert "price" in refused(nested, "budget=1")


def test_an_option_that_is_a_list_is_no_sweep(tmp_path: Path) -> None:
    parts = "[{name: first-stage}, {name: reverse}]"
    (cell,) = plan(load(tmp_path, START + f"rerankers: {{name: fusion, options: {{parts: {parts}}}}}"))
    assert cell.label == "fusion"
    assert len(cell.options["parts"]) == 2

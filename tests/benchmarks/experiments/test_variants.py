"""One factor at a time: the base and a system for each other level, never crossed, seeds as replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from benchmarks.experiments.config import RerankerSpec, load_experiment
from benchmarks.experiments.json_schema import experiment_schema
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = {"model": "m", "base_url": "http://localhost:1/v1"}


def labels(**entry: Any) -> list[str]:
    return [label for label, _ in RerankerSpec.model_validate({"name": "rankgpt", **entry}).variants()]


def points(**entry: Any) -> list[dict[str, Any]]:
    spec = RerankerSpec.model_validate({"name": "rankgpt", **entry})
    return [
        {key: value for key, value in options.items() if key not in MODEL} for _, options in spec.variants()
    ]


def test_levels_are_measured_one_at_a_time_and_never_crossed() -> None:
    assert points(options={**MODEL, "window": 10}, vary={"window": [5, 10], "step": [2, 5]}) == [
        {"window": 10},
        {"window": 5},
        {"window": 10, "step": 2},
        {"window": 10, "step": 5},
    ]


def test_a_level_that_is_the_default_is_the_base() -> None:
    # The papers' window and step, 20 and 10, are the defaults.
    assert points(options=MODEL, vary={"window": [20, 10], "step": [10, 5]}) == [
        {},
        {"window": 10},
        {"step": 5},
    ]


def test_a_label_tells_the_level_that_differs() -> None:
    assert labels(options=MODEL, vary={"window": [20, 10]}) == ["rankgpt", "rankgpt (window=10)"]
    assert labels(label="R, window {window}", options=MODEL, vary={"window": [10]}) == [
        "R, window 20",
        "R, window 10",
    ]


def test_seeds_are_replicates_of_every_level_that_draws() -> None:
    drawn = {"initial_order": "shuffled"}
    assert points(options={**MODEL, "seed": [1, 2]}, vary={"initial_order": ["shuffled"]}) == [
        {},
        {"initial_order": "shuffled", "seed": 1},
        {"initial_order": "shuffled", "seed": 2},
    ]
    assert points(options={**MODEL, **drawn}, vary={"window": [10], "seed": [0, 1]}) == [
        {**drawn, "seed": 0},
        {**drawn, "seed": 1},
        {**drawn, "window": 10, "seed": 0},
        {**drawn, "window": 10, "seed": 1},
    ]


def test_a_sweep_over_seeds_measures_what_no_seed_changes_once() -> None:
    orders = ["given", "shuffled"]
    assert points(options={**MODEL, "initial_order": orders, "seed": [1, 2]}) == [
        {"initial_order": "given"},
        {"initial_order": "shuffled", "seed": 1},
        {"initial_order": "shuffled", "seed": 2},
    ]


def test_a_temperature_makes_any_order_one_that_draws() -> None:
    assert len(points(options={**MODEL, "temperature": 1.0, "seed": [1, 2]})) == 2


def test_lists_are_still_crossed() -> None:
    assert len(points(options={**MODEL, "window": [5, 10], "passage_words": [50, 100]})) == 4


@pytest.mark.parametrize(
    ("entry", "line", "message"),
    [
        ("vary: {windw: [10]}", 7, "did you mean window"),
        ("vary: {window: []}", 7, "at least 1 item"),
        ("vary: {window: [ten]}", 7, "window"),
        ("options: {window: [5, 10]}\n    vary: {step: [2]}", 7, "List its values under vary"),
        ("vary: {heads: [1]}", 7, "heads"),
    ],
)
def test_wrong_levels_are_refused_with_their_line(
    tmp_path: Path, entry: str, line: int, message: str
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        "name: e\ndatasets: bundled\nfirst_stages: bm25\nrerankers:\n  - name: pe-rank\n    label: P\n    "
        + entry
        + ("\n    options: {model: m}\n" if "options" not in entry else "\n")
    )
    with pytest.raises(InputError, match=message) as error:
        load_experiment(path)
    assert f"e.yaml:{line}" in str(error.value)


def test_editors_know_the_levels_of_every_option() -> None:
    schema = experiment_schema()

    def entry(vary: Any) -> Any:
        return {
            "name": "e",
            "datasets": "bundled",
            "first_stages": "bm25",
            "rerankers": [{"name": "rankgpt", "options": {"model": "m"}, "vary": vary}],
        }

    jsonschema.validate(entry({"window": [10, 20], "initial_order": ["given", "shuffled"]}), schema)
    for wrong in ({"windw": [10]}, {"window": ["ten"]}, {"window": 10}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(entry(wrong), schema)

"""Unquoted values mean what people read; what YAML 1.1 reads otherwise is refused at its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.experiments.files.marked_yaml import MarkedYaml, read_value
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = [
    ("1:30", "1:30 is read as 90. Write that number"),  # 1 * 60 + 30
    ("-1:30:00", "is read as -5400"),  # -(1 * 3600 + 30 * 60)
    ("1:30.5", "is read as 90.5"),
    ("010", "010 is read as 8. Write that number"),
    ("-0755", "is read as -493"),  # -(7 * 64 + 5 * 8 + 5)
    ("0b101", "is read as 5"),
    ("1_0", "is read as 10"),
    ("yes", "yes is read as true. Write true, or quote it"),
    ("No", "No is read as false. Write false, or quote it"),
    ("on", "is read as true"),
    ("off", "is read as false"),
    ("2024-05-01", "2024-05-01 is read as a date. Quote it"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_a_value_that_people_read_otherwise_is_refused_at_its_line(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "experiment.yaml"
    for content in (f"a: 1\nlimit: {text}\n", f"a: 1\nlist: [x, {text}]\n", f"a: 1\n{text}: 3\n"):
        path.write_text(content)
        with pytest.raises(InputError) as raised:
            MarkedYaml(path)
        assert str(raised.value).startswith(f"{path}:2: ")
        assert says in str(raised.value)
    with pytest.raises(InputError) as raised:
        read_value("--set limit=", text)
    assert str(raised.value).startswith("--set limit=: ")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60_000", 60_000),
        ("-1_000_000", -1_000_000),
        ("0", 0),
        ("-0.5", -0.5),
        ("0.05", 0.05),
        ("0x10", 16),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("08", "08"),
        ("nobody", "nobody"),
        ("'yes'", "yes"),
        ('"1:30"', "1:30"),
        ("'010'", "010"),
        ("http://host:80/v1", "http://host:80/v1"),
        ("nDCG@10", "nDCG@10"),
    ],
)
def test_other_values_are_read_as_they_stand(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"value: {text}\n")
    assert MarkedYaml(path).content == {"value": value}
    assert read_value("--set", text) == value


def test_a_key_given_twice_on_the_command_line_is_refused() -> None:
    with pytest.raises(InputError, match="--set: 'seed' is given twice; keep one"):
        read_value("--set", "{seed: 1, seed: 2}")
    assert read_value("--set", "{a: &x [1], b: *x}") == {"a": [1], "b": [1]}

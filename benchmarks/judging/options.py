"""Parses the options of `rerankbench judge`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from benchmarks.judging.prompt import GRADES
from rerankers.errors import InputError, UnknownNameError
from rerankers.methods.chat import ChatOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


def chat_options(model: str, values: Mapping[str, object]) -> ChatOptions:
    """Validate options of the chat model that grades, by name, and return them as one object.

    Raises:
        InputError: an option is unknown or wrong, or does not belong to the backend.
    """
    for name in values:
        if name not in ChatOptions.model_fields or name == "model":
            raise UnknownNameError("option", name, [*ChatOptions.model_fields])
    try:
        return ChatOptions.model_validate({"model": model, **values})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"--option {place}: {first['msg']}, not {first['input']!r}.") from error


def read_scale(text: str | None) -> tuple[int, ...] | None:
    """Parse `--scale`, four grades such as `0,1,2,2`; None if the option was not used.

    Raises:
        InputError: these are not four grades that never fall.
    """
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,3}(,\d{1,3}){3}", text):
        raise InputError(f"--scale {text}: not four grades. Write one for each of 0 to 3, such as 0,1,2,2.")
    scale = tuple(map(int, text.split(",")))
    if sorted(scale) != [*scale]:
        raise InputError(f"--scale {text}: a better grade of the model must not stand for a lower one.")
    assert len(scale) == len(GRADES)  # noqa: S101 - the pattern says so
    return scale

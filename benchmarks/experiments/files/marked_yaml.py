"""A YAML reader that remembers the line of every value, so that errors can name it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.experiments.files.yaml_scalars import Location, checked_values
from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_value(flag: str, text: str) -> Any:
    """Parse a command line value as YAML, so that 20 is a number and true a boolean.

    Raises:
        InputError: it is not YAML, or YAML reads it otherwise than people do; the message begins with `flag`.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        for _, _, reason in checked_values(node):
            if reason is not None:
                raise InputError(f"{flag}: {reason}")
        value = None if node is None else loader.construct_document(node)
        json.dumps(value, default=str)  # refuses what contains itself, and keys that are no names
    except InputError:
        raise
    except Exception as error:  # PyYAML raises whatever it meets
        raise InputError(f"{flag}: the value is not valid YAML; quote it") from error
    return value


class MarkedYaml:
    """The content of a YAML file, with the line of each value.

    Attributes:
        path: the file; with `text`, only its name in errors.
        content: its values, changed in place by `override`.

    Raises:
        InputError: the file cannot be read, is not YAML, gives a key twice, or holds a value that YAML reads
            otherwise than people do.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self._overrides: dict[Location, str] = {}
        try:
            text = path.read_text(encoding="utf-8") if text is None else text
        except UnicodeDecodeError as error:
            raise InputError.at(path, None, "is not UTF-8 text; save it as UTF-8") from error
        except OSError as error:
            raise InputError.at(path, None, f"cannot be read: {error.strerror}; check the path") from error
        self._lines: dict[Location, int] = {}
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            for location, line, reason in checked_values(node):
                if reason is not None:
                    raise InputError.at(path, line, reason)
                self._lines[location] = line
            self.content: Any = None if node is None else loader.construct_document(node)
        except InputError:
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            problem = " ".join(str(error.problem).split())
            raise InputError.at(
                path, mark.line + 1 if mark else None, f"not valid YAML: {problem}"
            ) from error
        except RecursionError as error:
            raise InputError.at(path, None, "a part of it contains itself; write it out") from error
        except Exception as error:  # such as a KeyError for `!!bool 3`: PyYAML raises whatever it meets
            raise InputError.at(path, None, f"not valid YAML: {' '.join(str(error).split())}") from error

    def override(self, assignment: str) -> None:
        """Set one value of the content by an assignment such as `a.b.0.c=value`.

        The value is parsed as YAML; numbers in the key are positions in lists.

        Raises:
            InputError: the assignment has no `=`, or leads into a list that is shorter.
        """
        flag = f"--set {assignment}"
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise InputError(f"{flag}: write it as key=value, for example --set protocol.repeats=3")
        value = read_value(flag, text)
        keys = name.split(".")
        if not isinstance(self.content, dict):
            self.content = {}
        container: Any = self.content
        location: Location = ()
        for position, key in enumerate(keys):
            step: str | int = key
            if isinstance(container, list):
                if not key.isdecimal() or int(key) >= len(container):
                    raise InputError(
                        f"{flag}: {key!r} is not one of the list's places 0-{len(container) - 1}"
                    )
                step = int(key)
            elif not isinstance(container, dict):
                raise InputError(f"{flag}: {'.'.join(keys[:position])} is a plain value; set that instead")
            location = (*location, step)
            if position == len(keys) - 1:
                container[step] = value
            elif isinstance(container, dict):
                container = container.setdefault(step, {})
            else:
                container = container[step]
        self._overrides[location] = flag

    def error(self, location: Location, reason: str) -> InputError:
        """Return an InputError with the file and line of a value, or with the override that set it.

        If the file lacks the value, the line is that of the nearest value around it.
        """
        known_locations = {
            *self._lines,
            *(
                override_location[:end]
                for override_location in self._overrides
                for end in range(len(override_location) + 1)
            ),
        }
        marked_location: Location = ()
        for part in location:  # a validator's location may hold parts that are no keys of the file
            if (*marked_location, part) in known_locations:
                marked_location = (*marked_location, part)
        for length in range(len(marked_location), 0, -1):
            if marked_location[:length] in self._overrides:
                return InputError(f"{self._overrides[marked_location[:length]]}: {reason}")
        while marked_location not in self._lines and marked_location:
            marked_location = marked_location[:-1]
        return InputError.at(self.path, self._lines.get(marked_location), reason)

"""Fetches Debian packages through apt into a folder; nothing is installed.

apt keeps its lists under the folder too, so that no administrator's rights are needed, and the lists hold the
English descriptions, which systems in containers leave out.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerankers.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A Debian package, unpacked.

    Attributes:
        name: its name in Debian.
        version: its Debian version.
        root: the folder that holds its files as the root of a system would.
    """

    name: str
    version: str
    root: Path


class Apt:
    """The system's apt with package lists of its own under `folder`, updated at construction.

    Raises:
        InputError: apt is not installed, or cannot reach a mirror.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        (self._folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "update")

    def fetch(self, name: str) -> DebianPackage:
        """Download and unpack one package, and return it; files of an earlier call are used again."""
        if not list(self._folder.glob(f"{name}_*.deb")):
            self._run("apt-get", "download", name)
        archive = next(self._folder.glob(f"{name}_*.deb"))
        root = self._folder / "unpacked" / name
        root.mkdir(parents=True, exist_ok=True)
        self._run("dpkg-deb", "--extract", str(archive), str(root), options=False)
        version = self._run("dpkg-deb", "--field", str(archive), "Version", options=False).strip()
        return DebianPackage(name, version, root)

    def descriptions(self) -> str:
        """Return the English descriptions of all packages of the main lists, as Debian stanzas."""
        files = sorted((self._folder / "lists").glob("*_main_i18n_Translation-en*"))
        if not files:
            raise InputError("apt fetched no English descriptions; check that its mirrors have them")
        return self._run("/usr/lib/apt/apt-helper", "cat-file", *map(str, files), options=False)

    def _run(self, *command: str, options: bool = True) -> str:
        """Run a command in the folder and return its output; raise InputError if it fails.

        With `options`, apt is told to use the folder's lists.
        """
        apt_options = ["-o", f"Dir::State::lists={self._folder}/lists", "-o", "Acquire::Languages=en"]
        line = [command[0], *(apt_options if options else []), *command[1:]]
        try:
            process = subprocess.run(
                line, cwd=self._folder, capture_output=True, text=True, check=True, timeout=900
            )
        except FileNotFoundError as error:
            raise InputError(f"there is no {command[0]} here; build the text on Debian or Ubuntu") from error
        except subprocess.CalledProcessError as error:
            last = error.stderr.strip().splitlines()[-1:] or ["no message"]
            raise InputError(f"{' '.join(command)} failed: {last[0]}; check the network") from error
        return process.stdout

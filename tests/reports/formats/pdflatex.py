"""Compiles LaTeX as a paper would."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = r"""\documentclass%s{article}
\usepackage{booktabs,graphicx,siunitx}
\begin{document}
%s
\end{document}
"""


def compiled(text: str, folder: Path, options: str = "") -> str:
    """Return the log of pdfLaTeX's second run, which knows the labels of the first."""
    folder.mkdir()
    (folder / "table.tex").write_text(DOCUMENT % (options, text), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"]
    for _ in range(2):
        subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    assert (folder / "table.pdf").exists(), (folder / "table.log").read_text(
        encoding="utf-8", errors="replace"
    )
    return (folder / "table.log").read_text(encoding="utf-8", errors="replace")

"""Progress of long work: the library announces it, and whoever listens shows it.

Nothing is shown unless a program asks for it, as the command line does::

    from rerankers.progress import shown

    with shown():
        reranker = create("cross-encoder", model="BAAI/bge-reranker-base")
"""

from rerankers.progress.activities import Activity, Listener, is_heard, listening
from rerankers.progress.display import Display, shown

__all__ = ["Activity", "Display", "Listener", "is_heard", "listening", "shown"]

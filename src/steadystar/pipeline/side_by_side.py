"""Pieces of work that do not need each other, each in a thread of its own.

Most of a small survey's time goes into compiling, which keeps one processor busy and
leaves Python free: two things that are compiled side by side take the time of one.
"""

__all__ = ["processors_at_hand", "side_by_side"]

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def processors_at_hand(most: int) -> int:
    """Return how many processors this process may use, but not more than ``most``."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), most)
    return min(os.cpu_count() or 1, most)


def side_by_side(works: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return the results of ``works``, by name; the first error of them is raised.

    One after the other where there is one processor, or where one thread was asked for
    (``OMP_NUM_THREADS=1``), as for each of several workers of a machine.
    """
    alone = os.environ.get("OMP_NUM_THREADS") == "1" or processors_at_hand(2) < 2
    if alone or len(works) < 2:
        return {name: work() for name, work in works.items()}
    with ThreadPoolExecutor(len(works)) as pool:
        begun = {
            name: pool.submit(copy_context().run, work) for name, work in works.items()
        }
        return {name: one.result() for name, one in begun.items()}

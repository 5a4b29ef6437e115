"""Spectra in batches of one size, so that a program is compiled once for all.

A batch is filled up with repeats of its last spectrum. On a processor it is worked on in
groups that stay in the processor's cache, and groups that only fill the batch are free.
"""

__all__ = [
    "AT_ONCE",
    "at_most",
    "batch_size",
    "by_groups",
    "chunks",
    "few_at_once",
    "not_filling",
    "on_processor",
    "one_by_one",
]

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

AT_ONCE = 4
"""Spectra of a group: what a trial velocity of four needs stays in a cache of 1 MB."""
_BATCH = 32


_SOME = 64
"""Spectra of a group on an accelerator, where each needs much memory."""
_most: ContextVar[int] = ContextVar("most", default=2**31)


@contextmanager
def at_most(spectra: int) -> Iterator[None]:
    """Let no batch on an accelerator have more spectra: its memory grows with them."""
    token = _most.set(spectra)
    try:
        yield
    finally:
        _most.reset(token)


def on_processor() -> bool:
    """Whether there is no accelerator to work on, or it is not to be used."""
    # A device, the name of a platform, or None.
    chosen = getattr(jax.config, "jax_default_device", None)
    if chosen is None:
        return jax.default_backend() == "cpu"
    return getattr(chosen, "platform", chosen) == "cpu"


def batch_size(on_device: int) -> int:
    """Return how many spectra a batch has: ``on_device`` where there is an accelerator."""
    if on_processor():
        return _BATCH
    return max(AT_ONCE, min(on_device, _most.get()))


def chunks(
    rows: NDArray[np.intp], on_device: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield some of ``rows``, and the same filled up to a batch."""
    size = batch_size(on_device)
    for begin in range(0, len(rows), size):
        some = rows[begin : begin + size]
        yield some, np.pad(some, (0, size - len(some)), mode="edge")


def few_at_once(rows: NDArray[np.intp], on_device: int):
    """Yield some of a few ``rows``, and the same filled up; on a processor in groups.

    For what a minority of spectra needs: a whole batch would be mostly filling.
    """
    grouped = on_processor() or len(rows) <= AT_ONCE
    size = AT_ONCE if grouped else batch_size(on_device)
    for begin in range(0, len(rows), size):
        some = rows[begin : begin + size]
        yield some, np.pad(some, (0, size - len(some)), mode="edge")


def not_filling(some: NDArray[np.intp], padded: NDArray[np.intp]) -> jax.Array:
    """Say which rows of a batch are more than filling."""
    return jnp.asarray(np.arange(len(padded)) < len(some))


def by_groups(every: Callable[..., Any], *given: Any) -> Any:
    """Call ``every`` on groups of the batch; skip those of which nothing is wanted.

    The last of ``given`` says which rows are wanted; what is skipped comes out as zeros.
    """
    if not on_processor():
        return every(*given[:-1])

    def cut(a):
        return a.reshape(-1, AT_ONCE, *a.shape[1:])

    groups = jax.tree.map(cut, given)
    nothing = jax.eval_shape(every, *jax.tree.map(lambda a: a[0], groups[:-1]))

    def some(group):
        return jax.lax.cond(
            group[-1].any(), lambda g: every(*g[:-1]), lambda _: _zeros(nothing), group
        )

    found = jax.lax.map(some, groups)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), found)


def one_by_one(each: Callable[..., Any], given: Any, wanted: jax.Array) -> Any:
    """Call ``each`` on every row of ``given`` that is wanted; the others become zeros.

    On an accelerator some at once, and what is not wanted is worked on as well.
    """
    if not on_processor():
        return jax.lax.map(each, given, batch_size=_SOME)
    nothing = jax.eval_shape(each, jax.tree.map(lambda a: a[0], given))

    def one(row):
        asked, values = row
        return jax.lax.cond(asked, each, lambda _: _zeros(nothing), values)

    return jax.lax.map(one, (wanted, given))


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

"""Being told to stop: by Ctrl-C, by a batch system, by a terminal that is closed.

Nothing needs to be saved when a run ends, for at every moment each unit is done or not
begun. So a signal drops the unit at hand: it raises `Stopped` in the main thread as soon
as Python is at work there. A long call of a library may keep it away; after some seconds,
and before a batch system loses patience and kills, a thread ends the process without it.
A second signal ends it at once.
"""

__all__ = ["Stopped", "in_emergency", "stoppable"]

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

GRACE = 8.0
"""Seconds until the process is ended from outside its main thread. Batch systems wait for
at least ten, most for thirty, between asking and killing."""

_last_words: list[Callable[[str], object]] = []


class Stopped(KeyboardInterrupt):
    """The process was told to stop; `status` is what it should exit with."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"Stopped by {'Ctrl-C' if name == 'SIGINT' else name}")
        self.status = 128 + number


@contextmanager
def in_emergency(say: Callable[[str], object]) -> Iterator[None]:
    """Have ``say`` called with the reason, should the process end without unwinding."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


@contextmanager
def stoppable(grace: float = GRACE) -> Iterator[None]:
    """Raise `Stopped` in the block on Ctrl-C, SIGTERM and SIGHUP.

    Signals that are ignored already (as under ``nohup``) or that somebody else handles
    stay as they are; so do all where this is not the main thread.
    """
    chosen = _ours() if threading.current_thread() is threading.main_thread() else []
    if not chosen:
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.getsignal(number) for number in chosen}
    waker = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(reader, set(chosen), grace), daemon=True
    ).start()
    for number in chosen:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waker)
        writer.close()  # which ends the thread


def _ours() -> list[int]:
    """Signals that still do what they do by default."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    default = (signal.SIG_DFL, signal.default_int_handler)
    return [number for number in numbers if signal.getsignal(number) in default]


def _stop(number: int, _frame: object) -> None:
    raise Stopped(number)


def _watch(reader: socket.socket, chosen: set[int], grace: float) -> None:
    """End the process if its main thread does not, after a signal."""
    with reader:
        first = 0
        while True:
            ready, _, _ = select.select([reader], [], [], grace if first else None)
            came = reader.recv(64) if ready else b""
            if ready and not came:
                return
            told = [number for number in came if number in chosen]
            if first and (told or not ready):
                _end(first)
            first = first or next(iter(told), 0)


def _end(number: int) -> None:
    stopped = Stopped(number)
    with suppress(Exception):
        for say in _last_words:
            say(str(stopped))
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            child.kill()
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{stopped}. Run the same command again to go on.\n")
        sys.stderr.flush()
    os._exit(stopped.status)

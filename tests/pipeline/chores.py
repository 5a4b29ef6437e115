"""Work for the workers of a Dask cluster that takes a known time, and leaves its traces."""

import os
import time
from pathlib import Path


def chore(folder: str, number: int, seconds: float) -> tuple[int, int]:
    """Write down that this began, take some time, and return who did it.

    Raises:
        ZeroDivisionError: the time is negative.
    """
    if seconds < 0:
        raise ZeroDivisionError("this one cannot be done")
    with (Path(folder) / "began").open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    time.sleep(seconds)
    return number, os.getpid()

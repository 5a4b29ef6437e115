"""What a command costs in a process of its own: time, processor, memory, seconds by stage.

Memory is what the process and its children hold at a time, looked at every two
seconds (proportional set size: what processes share is counted once), and no less than the
kernel's own record of the process's maximum, which misses nothing.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one command took: seconds of the clock and of processors, bytes at most."""

    wall: float
    cpu: float
    memory: int


def watch(command: list[str], seconds: float = 2.0) -> Cost:
    """Run a command to its end, and look at its memory every so many ``seconds``.

    Looking takes 17 ms of a processor for each process that holds a gigabyte.

    The processor time is that of the process and of all children it waited for.
    """
    if sys.platform != "linux":
        raise SystemExit("Memory is read from /proc, which only Linux has.")
    began = time.perf_counter()
    child = subprocess.Popen(command)
    peak = 0
    while True:
        done, code, usage = os.wait4(child.pid, os.WNOHANG)
        if done:
            break
        peak = max(peak, sum(map(held, family(child.pid))))
        time.sleep(seconds)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=max(peak, usage.ru_maxrss * 1024),
    )


def steadystar(*arguments: str | Path) -> list[str]:
    """Return the command line of steadystar."""
    return [sys.executable, "-m", "steadystar.cli", *map(str, arguments)]


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:  # it has ended meanwhile
                continue
    return found


def held(pid: int) -> int:
    """Return the memory of a process; of what it shares with others, its share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended meanwhile
        return 0
    line = next((li for li in text.splitlines() if li.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024


def stages(output: Path) -> dict[str, float]:
    """Return the seconds of the units of every stage of a run, from its ledger."""
    seconds: dict[str, float] = {}
    for path in (output / "work" / "ledger").rglob("*.json"):
        record = json.loads(path.read_text())
        if "stage" in record:
            stage = record["stage"]
            seconds[stage] = seconds.get(stage, 0.0) + record["seconds"]
    return seconds

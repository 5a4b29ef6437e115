"""A Dask scheduler and its workers, each a process of its own, that can be killed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from steadystar.pipeline.workers import ONE_THREAD


class Machines:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address, self.folder = f"tcp://127.0.0.1:{self.port}", folder
        self.scheduler: subprocess.Popen | None = None
        self.workers: list[subprocess.Popen] = []

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        with (self.folder / "machines.log").open("a") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **ONE_THREAD, **environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port)
        )

    def start_worker(self, *more: str, **environment: str) -> None:
        more = ("--nthreads", "1", "--no-nanny", "--death-timeout", "60", *more)
        self.workers.append(self._start("worker", self.address, *more, **environment))

    def start(self, workers: int) -> None:
        """Start all, and wait until they know each other."""
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()
        self.wait_for(workers)

    def wait_for(self, workers: int) -> None:
        """Wait until the scheduler knows this many workers, no more."""
        from distributed import Client

        until = time.monotonic() + 60
        with Client(self.address, timeout=60, set_as_default=False) as client:
            known: Any = client.nthreads
            while len(known()) != workers:
                if time.monotonic() > until:
                    raise TimeoutError(f"There are not {workers} workers.")
                time.sleep(0.05)

    def end(self) -> None:
        """Kill all, those that hang too."""
        for process in [self.scheduler, *self.workers]:
            if process is not None:
                process.kill()
                process.wait()

"""Faults planted on purpose, and the tests that notice them.

    python benchmarks/planted_faults.py [NAME...] [--list] [--markdown]

Each fault is one wrong line, of the kind that people write. It is planted in a copy of
the repository, never in the working tree, and the tests of the rooms concerned are run
there. A fault that no test notices ends the program with an error: a test is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("src", "tests", "benchmarks", "docs", "pyproject.toml", "README.md")


@dataclass(frozen=True)
class Fault:
    """Replace ``right`` by ``wrong``, once, in ``file``; ``tests`` are to notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        "sign of a measured shift",
        "measure/arm.py",
        "ratio = np.exp(shift * self.prepared.grid.step)",
        "ratio = np.exp(-shift * self.prepared.grid.step)",
        ("tests/measure/test_relative.py", "tests/measure/test_doubles.py"),
    ),
    Fault(
        "c ln(1 + z) instead of c z",
        "measure/arm.py",
        "return C_KMS * (ratio - 1), error",
        "return C_KMS * np.log(ratio), error",
        ("tests/measure/test_relative.py", "tests/measure/test_doubles.py"),
    ),
    Fault(
        "errors twice as large",
        "measure/arm.py",
        "error = C_KMS * ratio * sigma",
        "error = 2 * C_KMS * ratio * sigma",
        ("tests/measure/test_relative.py",),
    ),
    Fault(
        "cosmic rays not clipped",
        "measure/normalize.py",
        "return value, jnp.where(hit, 0, weight), hit",
        "return value, weight, hit",
        ("tests/measure/test_relative.py",),
    ),
    Fault(
        "barycentric term missing in the measuring",
        "measure/normalize.py",
        "log_wave = log_wave + np.log1p(np.nan_to_num(bary_corr) / C_KMS)[:, None]",
        "log_wave = log_wave + 0 * bary_corr[:, None]",
        ("tests/measure/test_relative.py",),
    ),
    Fault(
        "barycentric term of the wrong sign in the measuring",
        "measure/normalize.py",
        "log_wave + np.log1p(",
        "log_wave - np.log1p(",
        ("tests/measure/test_relative.py",),
    ),
    Fault(
        "barycentric velocity of the wrong sign in the readers",
        "survey/observatory.py",
        "correction = C_KMS * (ratio - 1)",
        "correction = C_KMS * (1 - ratio)",
        ("tests/survey/test_observatory.py", "tests/survey/test_lamost.py"),
    ),
    Fault(
        "Earth's rotation missing in the readers",
        "survey/observatory.py",
        "position, velocity = position + offset, velocity + motion",
        "position, velocity = position + offset, velocity",
        ("tests/survey/test_observatory.py", "tests/survey/test_lamost.py"),
    ),
    Fault(
        "barycentric term missing in the simulator",
        "simulate/observe.py",
        "+ np.log1p(\n            bary_corr / C_KMS\n        )",
        "",
        ("tests/simulate/test_mock.py",),
    ),
    Fault(
        "noise twice as large in the simulator",
        "simulate/observe.py",
        "flux += noise * np.sqrt(variance)",
        "flux += 2 * noise * np.sqrt(variance)",
        ("tests/simulate/test_mock.py",),
    ),
    Fault(
        "inverse variance of half the noise in the simulator",
        "simulate/observe.py",
        "ivar = ivar_scale**2 / variance",
        "ivar = 4 * ivar_scale**2 / variance",
        ("tests/simulate/test_mock.py",),
    ),
    Fault(
        "zero point subtracted instead of added in the simulator",
        "simulate/observe.py",
        "float(component.rv[0]) + offset",
        "float(component.rv[0]) - offset",
        ("tests/simulate/test_mock.py",),
    ),
    Fault(
        "noise twice as large in the table mock",
        "simulate/table_mock.py",
        "rng.normal(size=rv.size) * self.error",
        "2 * rng.normal(size=rv.size) * self.error",
        ("tests/simulate/test_table_mock.py", "tests/calibrate/test_joint.py"),
    ),
    Fault(
        "correction added instead of subtracted",
        "calibrate/correction.py",
        "rv=pl.Series(raw - correction)",
        "rv=pl.Series(raw + correction)",
        ("tests/calibrate/test_zeropoint.py",),
    ),
    Fault(
        "correction of the wrong sign in the table",
        "calibrate/correction.py",
        "correction=pl.Series(correction)",
        "correction=pl.Series(-correction)",
        ("tests/calibrate/test_zeropoint.py",),
    ),
    Fault(
        "errors of zero points forgotten",
        "calibrate/correction.py",
        "total = np.sqrt(variance + np.where(valid, err, np.nan) ** 2)",
        "total = np.where(valid, err, np.nan)",
        ("tests/calibrate/test_zeropoint.py",),
    ),
    Fault(
        "LAMOST's wavelengths taken for air",
        "survey/lamost_mrs.py",
        "    # Every bit of these masks",
        "    from steadystar.data.air import air_to_vacuum\n\n"
        "    wave = air_to_vacuum(wave)\n    # Every bit of these masks",
        ("tests/survey/test_lamost.py",),
    ),
    Fault(
        "air taken for vacuum in files that say air",
        "survey/generic.py",
        "wave = _in_vacuum(wave)",
        "pass",
        ("tests/survey/test_generic.py",),
    ),
    Fault(
        "flagged pixels used",
        "survey/lamost_mrs.py",
        "ivar = np.where(mask == 0, ivar, 0)",
        "ivar = np.where(mask >= 0, ivar, 0)",
        ("tests/survey/test_lamost.py",),
    ),
    Fault(
        "the start of an exposure taken for its middle",
        "survey/lamost_mrs.py",
        "np.mean(begin) + single / 2 / 86_400",
        "np.mean(begin)",
        ("tests/survey/test_lamost.py",),
    ),
    Fault(
        "degrees of freedom not reduced by the mean",
        "infer/summary.py",
        "freedom = count - zeros",
        "freedom = count",
        ("tests/infer",),
    ),
    Fault(
        "errors weigh instead of their inverse squares",
        "infer/summary.py",
        "weight = used.groups, used.err**-2",
        "weight = used.groups, used.err",
        ("tests/infer",),
    ),
)


def plant(folder: Path, fault: Fault) -> None:
    """Put a fault into the copy in ``folder``; its place must be the only one."""
    path = folder / "src" / "steadystar" / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.right) != 1:
        raise SystemExit(
            f"{fault.name}: {fault.right!r} stands {text.count(fault.right)} times in "
            f"{fault.file}, not once. Write the fault for the present source."
        )
    path.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")


def failing(folder: Path, tests: tuple[str, ...], programs: Path) -> list[str]:
    """Run tests in the copy and return the names of those that fail.

    ``programs`` keeps what JAX compiles: most faults leave most programs as they are.
    """
    paths = [str(folder / "src"), str(folder)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        [*command, "--tb=no", "-rfE"],
        cwd=folder,
        env={"JAX_COMPILATION_CACHE_DIR": str(programs)}
        | os.environ
        | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"The tests could not be run:\n{done.stdout}{done.stderr}")
    lines = re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE)
    return list(dict.fromkeys(lines))


def copy(folder: Path) -> None:
    """Copy what the tests need of the repository."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            pruned = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=pruned)
        elif source.exists():
            shutil.copy2(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names of faults; else all")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    parser.add_argument("--markdown", action="store_true", help="rows of a table")
    given = parser.parse_args()
    chosen = [
        fault
        for fault in FAULTS
        if not given.names or any(name in fault.name for name in given.names)
    ]
    if given.list:
        print(*(f"{fault.name}: {fault.file}" for fault in chosen), sep="\n")
        return
    missed = []
    programs = Path(tempfile.mkdtemp())
    for fault in chosen:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            copy(folder)
            plant(folder, fault)
            found = failing(folder, fault.tests, programs)
        if not found:
            missed.append(fault.name)
        if given.markdown:
            names = ", ".join(f"`{name}`" for name in found) or "none"
            print(f"| {fault.name} | `{fault.file}` | {names} |", flush=True)
        else:
            print(f"{fault.name}:", *(found or ["NOTHING"]), sep="\n  ", flush=True)
    shutil.rmtree(programs)
    if missed:
        raise SystemExit(f"No test notices: {', '.join(missed)}")


if __name__ == "__main__":
    main()

"""What a velocity costs, against pixels, epochs of a star, templates and their rank.

    python benchmarks/costs.py [--spectra 2000] [--repeats 3] [pixels epochs templates rank]

LAMOST-like spectra in both arms (not counted) are measured in one process, everything but
one thing left as it is by default. Printed are milliseconds of the processor a spectrum,
the best of the repeats, after one call to compile; the default of each line stands among
its values, so that ratios within a line are those of one run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.data.spectra import Spectra
from steadystar.measure.absolute import AbsoluteOptions, measure_absolute
from steadystar.measure.relative import measure_relative
from steadystar.models.templates import Templates, bundled_templates
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.large_survey import draw_plan, make_shard

Sample = tuple[pl.DataFrame, Spectra]


def sample(spectra: int, **options: float) -> Sample:
    """Make about ``spectra`` visits and their spectra, of whole stars."""
    plan = draw_plan(
        LargeSurveyOptions(spectra=max(4 * spectra, 4000), epochs_scatter=0, **options),  # pyright: ignore[reportArgumentType]
        seed=1,
    )
    stars = plan.stars.with_columns(_sum=(2 * pl.col("n_exposures")).cum_sum())
    made = make_shard(plan, stars.filter(pl.col("_sum") <= spectra), 0)
    return made.visits, made.spectra


def cost(work: Callable[[], object], spectra: int, repeats: int) -> float:
    """Return milliseconds of the processor a spectrum, the best of some calls."""
    work()
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return 1e3 * min(taken) / spectra


def absolute(given: Sample, options: AbsoluteOptions | None = None):
    return lambda: measure_absolute(*given, options or AbsoluteOptions())


def relative(given: Sample):
    return lambda: measure_relative(*given)


Line = Iterator[tuple[str, Sample, Callable[[], object]]]


def pixels(spectra: int) -> Line:
    """Spectra of more pixels, absolute velocities."""
    for number in (1500, 3000, 6000):
        given = sample(spectra, pixels=number)
        yield f"absolute, {number} pixels", given, absolute(given)


def epochs(spectra: int) -> Line:
    """As many spectra of fewer stars, absolute and relative velocities."""
    for number in (2, 4, 8, 16, 32):
        given = sample(spectra, epochs=number)
        stars = given[0]["star_id"].n_unique()
        name = f"{len(given[0]) / 2 / stars:.1f} epochs of {stars} stars"
        yield f"absolute, {name}", given, absolute(given)
        yield f"relative, {name}", given, relative(given)


def templates(spectra: int) -> Line:
    """Fewer templates, from which the prior of lines is learned; one arm."""
    visits, all_spectra = sample(2 * spectra)
    rows = np.flatnonzero((visits["arm"] == "blue").to_numpy())
    given = visits[rows], all_spectra[rows]
    whole = bundled_templates("lamost-mrs-blue")
    with tempfile.TemporaryDirectory() as folder:
        for step in (8, 4, 2, 1):
            some = Templates(whole.wave, whole.flux[::step], whole.resolution)
            path = Path(folder) / f"{step}.parquet"
            some.save(path)
            options = AbsoluteOptions(templates=str(path))
            yield f"absolute, {len(some)} templates", given, absolute(given, options)


def rank(spectra: int) -> Line:
    """Fewer components in the prior of lines."""
    given = sample(spectra)
    for number in (7, 14, 28):
        yield (
            f"absolute, rank {number}",
            given,
            absolute(given, AbsoluteOptions(rank=number)),
        )


LINES = {"pixels": pixels, "epochs": epochs, "templates": templates, "rank": rank}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lines", nargs="*", choices=[[], *LINES])
    parser.add_argument("--spectra", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    for line in given.lines or LINES:
        for name, (visits, _), work in LINES[line](given.spectra):
            taken = cost(work, len(visits), given.repeats)
            print(f"{name:<42}{taken:7.2f} ms", flush=True)


if __name__ == "__main__":
    main()

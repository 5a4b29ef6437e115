"""Velocity tables that never were: zero points, without any spectra.

`xiong_mock` is the validation mock of Xiong et al. (2021, RAA 21, 234, section 3.3):
30 exposures of one spectrograph in seven nights, with 200 constant stars, 10 that
change without a rule and 40 binaries, of which three are those of the paper's table 1.
`fiber_mock` is a survey in which every star is seen through several fibers, each with a
zero point of its own, and some stars are binaries (compare Saydjari et al. 2025).

Both return a `TableMock`, whose visits are all that a calibration may see. The sign is
that of the package: ``rv_raw = rv_true + correction_true + error``.
"""

__all__ = ["TableMock", "fiber_mock", "xiong_mock"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.schema import conform
from steadystar.simulate.orbits import orbital_velocity

# Period (d), semi-amplitude (km/s) and inclination (deg) of table 1, all circular.
_PUBLISHED_BINARIES = (
    (0.6894, 13.23, 88.65),
    (0.6373, 13.01, 88.15),
    (2.9098, 5.91, 81.79),
)
_EPOCH = 2_458_400.0


@dataclass(frozen=True)
class TableMock:
    """A velocity table and what is behind it.

    ``visits``: schema "velocities". ``truth``: ``visit_id, rv_true, correction_true``,
    row by row as the visits. ``stars``: ``star_id, kind, constant_true`` and orbits.
    ``offsets``: the family's columns and ``offset_true``.
    """

    visits: pl.DataFrame
    truth: pl.DataFrame
    stars: pl.DataFrame
    offsets: pl.DataFrame


def xiong_mock(
    seed: int,
    *,
    n_constant: int = 200,
    n_irregular: int = 10,
    n_binaries: int = 40,
    n_nights: int = 7,
    n_exposures: int = 30,
) -> TableMock:
    """Make the mock of Xiong et al. (2021), section 3.3.

    Constant stars stay within 0.1 km/s (uniform), errors are 0 to 2 km/s (uniform, one
    a star), irregular stars move within a range of 2 to 10 km/s, binaries have
    semi-amplitudes of 3 to 15 km/s and periods of 0.5 to 3 d. Each night's zero point
    is uniform within 7 km/s, each exposure adds a Gaussian of 0.5 km/s.

    Raises:
        ValueError: there are fewer exposures than nights, or no stars.
    """
    n_stars = n_constant + n_irregular + n_binaries
    if n_exposures < n_nights or n_nights < 1 or n_stars < 1:
        raise ValueError(
            f"{n_exposures} exposures in {n_nights} nights of {n_stars} stars are no "
            "survey: give at least one star and one exposure a night."
        )
    rng = np.random.default_rng([seed, 33])
    night, time, offset = _xiong_exposures(rng, n_nights, n_exposures)
    kind = np.repeat(
        ["constant", "irregular", "binary"], [n_constant, n_irregular, n_binaries]
    )
    rv, stars = _xiong_stars(rng, kind, time)
    error = np.repeat(rng.uniform(0.0, 2.0, n_stars)[:, None], n_exposures, axis=1)
    # An error of exactly zero would be an infinite weight; nothing measures so well.
    error = np.maximum(error, 0.01)
    star_ids = [f"mock-{number:04d}" for number in range(n_stars)]
    exposure_ids = [f"exposure-{number:02d}" for number in range(n_exposures)]
    grid = _Grid(rng, rv, offset[None, :], error)
    visits = grid.table(
        star_id=np.repeat(star_ids, n_exposures),
        exposure_id=np.tile(exposure_ids, n_stars),
        survey="mock",
        telescope="mock",
        field="mock",
        spectrograph=1,
        arm="red",
        fiber=np.repeat(np.arange(1, n_stars + 1), n_exposures),
        night=np.tile(night, n_stars),
        bjd=np.tile(time, n_stars),
    )
    return TableMock(
        visits=visits,
        truth=grid.truth(visits),
        stars=stars.with_columns(pl.Series("star_id", star_ids)).select(
            "star_id", pl.exclude("star_id")
        ),
        offsets=pl.DataFrame(
            {
                "spectrograph": np.ones(n_exposures, int),
                "arm": ["red"] * n_exposures,
                "exposure_id": exposure_ids,
                "offset_true": offset,
            }
        ),
    )


def _xiong_exposures(rng, n_nights: int, n_exposures: int):
    """Return night (MJD), time (BJD) and zero point of each exposure."""
    number = np.sort(np.arange(n_exposures) % n_nights)
    # Exposures follow each other by 24 minutes; the field comes back within weeks.
    first = np.cumsum(rng.integers(1, 6, n_nights))[number]
    order = np.arange(n_exposures) - np.searchsorted(number, number)
    time = _EPOCH + first + 0.05 + order * 24 / 1440
    drift = rng.uniform(-7, 7, n_nights)[number]
    return 58_400 + first, time, drift + rng.normal(0, 0.5, n_exposures)


def _xiong_stars(rng, kind: NDArray, time: NDArray) -> tuple[NDArray, pl.DataFrame]:
    """Return velocities ``(star, exposure)`` and the table of stars."""
    rv = np.empty((len(kind), len(time)))
    rows = []
    published = iter(_PUBLISHED_BINARIES)
    for index, what in enumerate(kind.tolist()):
        row: dict = {"kind": what, "constant_true": what == "constant"}
        if what == "constant":
            rv[index] = rng.uniform(-0.1, 0.1, len(time))
        elif what == "irregular":
            reach = rng.uniform(2, 10)
            rv[index] = rng.uniform(-reach / 2, reach / 2, len(time))
        else:
            drawn = (
                float(rng.uniform(0.5, 3)),
                float(rng.uniform(3, 15)),
                float(np.degrees(np.arccos(rng.uniform(0, 1)))),
            )
            period, amplitude, inclination = next(published, drawn)
            start = _EPOCH + float(rng.uniform(0, period))
            rv[index] = orbital_velocity(
                time, period=period, semi_amplitude=amplitude, periastron=start
            )
            row |= {
                "period_true": period,
                "semi_amplitude_true": amplitude,
                "inclination_true": inclination,
                "periastron_true": start,
            }
        rows.append(row)
    schema = {"kind": pl.String, "constant_true": pl.Boolean} | dict.fromkeys(
        ("period_true", "semi_amplitude_true", "inclination_true", "periastron_true"),
        pl.Float64,
    )
    return rv, pl.DataFrame(rows, schema=schema)


def fiber_mock(
    seed: int,
    *,
    n_fibers: int = 300,
    n_stars: int = 2000,
    n_visits: int = 6,
    binaries: float = 0.12,
    offset_scatter: float = 0.3,
    telescopes: tuple[str, ...] = ("north",),
    shared: float = 0.1,
) -> TableMock:
    """Make a table of stars that change fibers between visits.

    Every star is seen ``n_visits`` times in fibers drawn at random, at one of the
    ``telescopes``; a fraction ``shared`` is seen from all in turn. Errors are
    log-uniform from 0.01 to 0.3 km/s a star. Offsets of fibers scatter by
    ``offset_scatter`` and those of telescopes by as much again. A fraction
    ``binaries`` has orbits with semi-amplitudes log-uniform from 0.3 to 30 km/s.
    """
    if min(n_fibers, n_stars, n_visits, len(telescopes)) < 1:
        raise ValueError(
            f"{n_fibers} fibers, {n_stars} stars, {n_visits} visits, {len(telescopes)} "
            "telescopes: there must be at least one of each."
        )
    rng = np.random.default_rng([seed, 51])
    shape = (n_stars, n_visits)
    home = rng.integers(len(telescopes), size=n_stars)
    turn = np.arange(n_visits) % len(telescopes)
    moves = rng.uniform(size=n_stars) < shared
    telescope = np.where(moves[:, None], turn, home[:, None])
    fiber = rng.integers(1, n_fibers + 1, shape)
    offset = rng.normal(0, offset_scatter, (len(telescopes), n_fibers))
    offset += rng.normal(0, offset_scatter, (len(telescopes), 1)) * (
        len(telescopes) > 1
    )
    time = _EPOCH + np.sort(rng.uniform(0, 1000, shape), axis=1)

    rv, stars = _wandering_stars(rng, time, binaries)
    error = np.repeat(10 ** rng.uniform(-2, -0.5, n_stars)[:, None], n_visits, axis=1)
    grid = _Grid(rng, rv, offset[telescope, fiber - 1], error)
    star_ids = np.array([f"mock-{number:05d}" for number in range(n_stars)])
    visits = grid.table(
        star_id=np.repeat(star_ids, n_visits),
        exposure_id=np.array([f"visit-{number}" for number in range(rv.size)]),
        survey="mock",
        telescope=np.array(telescopes)[telescope].ravel(),
        field="mock",
        spectrograph=1,
        arm="all",
        fiber=fiber.ravel(),
        night=np.floor(time - 2_400_000.5).astype(int).ravel(),
        bjd=time.ravel(),
    )
    return TableMock(
        visits=visits,
        truth=grid.truth(visits),
        stars=stars.insert_column(0, pl.Series("star_id", star_ids)),
        offsets=pl.DataFrame(
            {
                "telescope": np.repeat(telescopes, n_fibers),
                "fiber": np.tile(np.arange(1, n_fibers + 1), len(telescopes)),
                "offset_true": offset.ravel(),
            }
        ),
    )


def _wandering_stars(rng, time: NDArray, binaries: float):
    """Return velocities ``(star, visit)`` and the table of stars."""
    n_stars, n_visits = time.shape
    rv = np.repeat(rng.normal(0, 50, n_stars)[:, None], n_visits, axis=1)
    binary = rng.uniform(size=n_stars) < binaries
    period = 10 ** rng.uniform(0, 3, n_stars)
    amplitude = 10 ** rng.uniform(-0.5, 1.5, n_stars)
    for index in np.flatnonzero(binary):
        rv[index] += orbital_velocity(
            time[index],
            period=float(period[index]),
            semi_amplitude=float(amplitude[index]),
            eccentricity=float(rng.uniform(0, 0.6)),
            omega=float(rng.uniform(0, 2 * np.pi)),
            periastron=_EPOCH,
        )
    stars = pl.DataFrame(
        {
            "kind": np.where(binary, "binary", "constant"),
            "constant_true": ~binary,
            "period_true": np.where(binary, period, np.nan),
            "semi_amplitude_true": np.where(binary, amplitude, np.nan),
        }
    )
    return rv, stars


class _Grid:
    """Velocities, offsets and errors of stars by visits, ``(star, visit)``, as rows."""

    def __init__(self, rng, rv: NDArray, offset: NDArray, error: NDArray) -> None:
        self.rv = rv.ravel()
        self.offset = np.broadcast_to(offset, rv.shape).ravel()
        self.error = error.ravel()
        self.measured = self.rv + self.offset + rng.normal(size=rv.size) * self.error

    def table(self, **columns) -> pl.DataFrame:
        size = len(self.rv)
        frame = pl.DataFrame(
            {
                "visit_id": [f"visit-{number:06d}" for number in range(size)],
                **{
                    name: value if isinstance(value, np.ndarray) else [value] * size
                    for name, value in columns.items()
                },
                "method": ["mock"] * size,
                "rv_raw": self.measured,
                "rv_raw_err": self.error,
                # Errors of LAMOST's velocities go roughly as 20 km/s over S/N.
                "snr": 20 / np.maximum(self.error, 0.05),
                "status": np.zeros(size, int),
            }
        )
        return conform(frame, "velocities")

    def truth(self, visits: pl.DataFrame) -> pl.DataFrame:
        return visits.select("visit_id", "star_id").with_columns(
            pl.Series("rv_true", self.rv), pl.Series("correction_true", self.offset)
        )

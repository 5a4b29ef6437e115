"""The plan of a survey of any size: fields, exposures, zero points, stars.

Fields are spread evenly over the sky that LAMOST sees, and each comes back on so many
nights that its stars have, in the mean, the epochs that were asked for. The last star
of the survey misses its last exposures, so that the number of spectra is exact. All of
the plan is small (a row a star, a row an exposure); spectra are made from it shard by
shard, in `steadystar.simulate.large_survey`.
"""

__all__ = ["LargePlan", "draw_plan"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.simulate import sky
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.plan import LAMPS, generator
from steadystar.simulate.stars import draw_stars

ARM_NAMES = ("blue", "red")
"""The order of arms in every array of the large survey."""

_FIBERS = 250
_BLOCKS_A_NIGHT = 4
_EVENING = -360
"""Minutes from midnight at which the first block of a night begins."""


@dataclass(frozen=True)
class LargePlan:
    """What there is to observe, and how.

    ``stars``: a row a star, as `steadystar.simulate.stars.draw_stars` draws them, with
    ``field_number, spectrograph, fiber, dead_true``, and ``n_exposures``: it is in that
    many of the first exposures of its field. ``exposures``: a row per spectrograph, arm
    and exposure, with the parts of its zero point. ``fibers``: a row per spectrograph,
    arm and fiber.
    """

    options: LargeSurveyOptions
    seed: int
    stars: pl.DataFrame
    exposures: pl.DataFrame
    fibers: pl.DataFrame

    def offsets(self) -> pl.DataFrame:
        """Return the zero points of all families as one table."""
        names = ("family", "spectrograph", "arm", "exposure_id", "fiber", "offset_true")
        exposures = self.exposures.with_columns(
            family=pl.lit("spectrograph+arm+exposure_id"), fiber=pl.lit(None, pl.Int64)
        )
        fibers = self.fibers.with_columns(
            family=pl.lit("spectrograph+arm+fiber"), exposure_id=pl.lit(None, pl.String)
        )
        return pl.concat([exposures.select(names), fibers.select(names)])


def draw_plan(options: LargeSurveyOptions, seed: int) -> LargePlan:
    """Draw the plan of a survey; the same options and seed give the same plan."""
    counts = list(_exposures_of_fields(options, seed))
    stars = _stars(options, seed, counts)
    # A field whose stars are cut off has no exposure that nobody was in.
    used = stars.group_by("field_number").agg(pl.col("n_exposures").max())
    used = used.sort("field_number")["n_exposures"].to_list()
    return LargePlan(
        options=options,
        seed=seed,
        stars=stars,
        exposures=_exposures(options, seed, used).join(
            stars, on=["field_number", "spectrograph"], how="semi"
        ),
        fibers=_fibers(options, seed),
    )


def _exposures_of_fields(options: LargeSurveyOptions, seed: int) -> Iterator[int]:
    """Yield the number of exposures of fields until all spectra have one."""
    pairs, scatter = options.spectra // 2, options.epochs_scatter
    field, done = 0, 0
    while done < pairs:
        draw = generator(seed, "nights", field).normal(-(scatter**2) / 2, scatter)
        number = int(np.clip(round(options.epochs * np.exp(draw)), 1, 200))
        yield number
        done += number * options.n_stars * options.n_spectrographs
        field += 1


def _stars(options: LargeSurveyOptions, seed: int, counts: list[int]) -> pl.DataFrame:
    left, groups = options.spectra // 2, []
    for field, number in enumerate(counts):
        for spectrograph in range(1, options.n_spectrographs + 1):
            size = min(options.n_stars, -(-left // number))
            if size > 0:
                last = left - (size - 1) * number
                exposures = np.full(size, number)
                exposures[-1] = min(number, last)
                left -= int(exposures.sum())
                groups.append(_group(options, seed, field, spectrograph, exposures))
    stars = pl.concat(groups)
    # Two stars within a tenth of an arcsecond would share a name.
    twin = ~pl.col("star_id").is_first_distinct()
    name = pl.when(twin).then(pl.col("star_id") + "B").otherwise(pl.col("star_id"))
    return stars.with_columns(star_id=name)


def _group(options, seed: int, field: int, spectrograph: int, exposures):
    """Draw the stars of one spectrograph in one field."""
    rng = generator(seed, "stars", field, spectrograph)
    size = len(exposures)
    table = draw_stars(
        rng,
        size,
        center=_center(field, spectrograph),
        radius=0.4,
        fractions={
            "giant": options.giants,
            "hot": options.hot_stars,
            "cool": options.cool_stars,
            "sb1": options.single_lined,
            "sb2": options.double_lined,
            "pulsator": 0.0,
            "eclipsing": options.eclipsing,
        },
        magnitudes=options.magnitudes,
        epoch=2_400_000.5 + options.first_night,
    )
    fibers = generator(seed, "fibers", field, spectrograph).permutation(_FIBERS) + 1
    dead = generator(seed, "dead fiber", field, spectrograph).uniform(size=size)
    return table.with_columns(
        pl.lit(field, pl.Int64).alias("field_number"),
        pl.lit(spectrograph, pl.Int64).alias("spectrograph"),
        pl.Series("fiber", fibers[:size], pl.Int64),
        pl.Series("n_exposures", exposures, pl.Int64),
        pl.Series("dead_true", dead < options.dead_fibers),
    )


def _center(field: int, spectrograph: int = 0) -> tuple[float, float]:
    """Return the center (degrees) of a field, or of one spectrograph's part of it.

    Multiples of two irrational numbers fill right ascension and the sine of the
    declination (-5 to 60 degrees) evenly, however many fields there are.
    """
    ra = (30.0 + 360 * 0.7548776662466927 * field) % 360
    low, high = np.sin(np.radians([-5.0, 60.0]))
    part = (0.5 + 0.5698402909980532 * field) % 1
    dec = float(np.degrees(np.arcsin(low + (high - low) * part)))
    if spectrograph == 0:
        return ra, dec
    angle = 2 * np.pi * spectrograph / 16
    away = 1.6 * float(np.sin(angle)) / float(np.cos(np.radians(dec)))
    return (ra + away) % 360, dec + 1.4 * float(np.cos(angle))


def _plan_name(field: int) -> str:
    """Return a plan's name, made like LAMOST's from the position of the field."""
    ra, dec = _center(field)
    minutes, arcmin = int(ra * 4), int(abs(dec) * 60)
    sign = "S" if dec < 0 else "N"
    return (
        f"TD{minutes // 60:02d}{minutes % 60:02d}{sign}{arcmin // 60:02d}"
        f"{arcmin % 60:02d}F{field:05d}"
    )


def _exposures(
    options: LargeSurveyOptions, seed: int, counts: list[int]
) -> pl.DataFrame:
    """Draw times, weather and zero points; a row per spectrograph, arm and exposure."""
    seen = _schedule(options, seed, np.array(counts))
    rng = generator(seed, "weather")
    cloudy = rng.uniform(size=len(seen)) < options.cloudy
    clear, clouds = (
        rng.beta(12, 2, len(seen)),
        10 ** rng.uniform(-1.3, -0.3, len(seen)),
    )
    alternate = rng.uniform(size=len(seen)) < options.alternate_lamp
    names = {field: _plan_name(field) for field in range(len(counts))}
    seen = seen.with_columns(
        field=pl.col("field_number").replace_strict(names, return_dtype=pl.String),
        exposure_id=pl.col("minute").cast(pl.String),
        exptime=pl.lit(options.exptime),
        start=pl.Series(sky.minute_to_utc(seen["minute"].to_numpy()))
        + pl.Series(rng.integers(0, 60, len(seen)) / 86_400),
        transparency_true=pl.Series(clear * np.where(cloudy, clouds, 1.0)),
        lamp=pl.Series(np.array(LAMPS)[alternate.astype(int)]),
        offset_lamp_true=pl.Series(options.alternate_lamp_offset * alternate),
    )
    return _with_zero_points(options, seed, seen)


def _schedule(options, seed: int, counts: np.ndarray) -> pl.DataFrame:
    """Give every exposure a night and a minute of its own: one telescope, one field."""
    visits = -(-counts // options.n_exposures)
    total = int(visits.sum())
    # Four fifths of the blocks of the nights of at least a year are used.
    nights = max(365, int(np.ceil(total / _BLOCKS_A_NIGHT / 0.8)))
    chosen = generator(seed, "nights").permutation(nights * _BLOCKS_A_NIGHT)[:total]
    rows = {"field_number": [], "number": [], "night": [], "minute": []}
    first = np.concatenate([[0], np.cumsum(visits)])
    length = 24 * options.n_exposures
    for field, count in enumerate(counts.tolist()):
        number = np.arange(count)
        blocks = np.sort(chosen[first[field] : first[field + 1]])
        block = blocks[number // options.n_exposures]
        night = options.first_night + block // _BLOCKS_A_NIGHT
        minute = night * 1440 + _EVENING + block % _BLOCKS_A_NIGHT * length
        rows["field_number"].append(np.full(count, field))
        rows["number"].append(number)
        rows["night"].append(night)
        rows["minute"].append(minute + 24 * (number % options.n_exposures))
    return pl.DataFrame({name: np.concatenate(part) for name, part in rows.items()})


def _with_zero_points(options, seed: int, seen: pl.DataFrame) -> pl.DataFrame:
    """Repeat every exposure for all spectrographs and arms, each with its zero point."""
    spectrographs, arms = options.n_spectrographs, len(ARM_NAMES)
    night, index = np.unique(seen["night"].to_numpy(), return_inverse=True)
    shape = (len(night), spectrographs, arms)
    drift = generator(seed, "night drift").normal(0, options.night_drift, shape)[index]
    shape = (len(seen), spectrographs, arms)
    own = generator(seed, "exposure drift").normal(0, options.exposure_drift, shape)
    each = seen[np.repeat(np.arange(len(seen)), spectrographs * arms)]
    parts = ("offset_night_true", "offset_exposure_true", "offset_lamp_true")
    return each.with_columns(
        pl.Series(
            "spectrograph",
            np.tile(np.repeat(np.arange(spectrographs) + 1, arms), len(seen)),
        ),
        pl.Series("arm", list(ARM_NAMES) * (len(seen) * spectrographs)),
        offset_night_true=pl.Series(drift.ravel()),
        offset_exposure_true=pl.Series(own.ravel()),
    ).with_columns(pl.sum_horizontal(parts).alias("offset_true"))


def _fibers(options: LargeSurveyOptions, seed: int) -> pl.DataFrame:
    """Draw what is peculiar to fibers; a row per spectrograph, arm and fiber."""
    number = options.n_spectrographs * len(ARM_NAMES)
    offset = generator(seed, "fiber offset").normal(size=number * _FIBERS)
    throughput = generator(seed, "throughput").normal(size=number * _FIBERS)
    spectrograph = np.repeat(np.arange(options.n_spectrographs) + 1, 2 * _FIBERS)
    arms = np.tile(np.repeat(ARM_NAMES, _FIBERS), options.n_spectrographs)
    return pl.DataFrame(
        {
            "spectrograph": spectrograph,
            "arm": arms,
            "fiber": np.tile(np.arange(_FIBERS) + 1, number),
            "offset_true": options.fiber_offset * offset,
            "throughput_true": np.exp(0.15 * throughput),
        }
    )

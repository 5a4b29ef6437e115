"""The plan of a survey: fields, nights, exposures, fibers, and their zero points.

Every random choice has a generator of its own, made from the seed, a purpose and the
numbers of the thing that is chosen. So a survey with more nights keeps the nights that
it had, and no defect that is switched off disturbs a star.
"""

__all__ = [
    "LAMPS",
    "center_of",
    "draw_exposures",
    "draw_fibers",
    "draw_group",
    "generator",
    "offsets",
]

from typing import Literal, get_args

import numpy as np
import polars as pl

from steadystar.simulate import instrument, sky
from steadystar.simulate.options import SurveyOptions
from steadystar.simulate.stars import draw_stars

Purpose = Literal[
    "stars",
    "nights",
    "weather",
    "night drift",
    "exposure drift",
    "fiber offset",
    "fibers",
    "resolution",
    "throughput",
    "dispersion",
    "noise",
    "cosmic rays",
    "bad pixels",
    "bad readings",
    "sky",
    "shape",
    "nebula",
    "dead fiber",
    "ivar",
]
"""What a random generator is for; its place in this list is part of the seed."""

LAMPS = ("lampsc_med.dat", "lampthar.dat")
"""The usual arc lamp's list of lines, and the alternate one's."""

_FIBERS = 250


def generator(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    """Return the random generator of one purpose."""
    return np.random.default_rng([seed, get_args(Purpose).index(purpose), *numbers])


def center_of(field: int, spectrograph: int = 0) -> tuple[float, float]:
    """Return the center (degrees) of a field, or of one spectrograph's part of it."""
    ra, dec = (30.0 + 25.0 * field) % 360, 32.0
    if spectrograph == 0:
        return ra, dec
    angle = 2 * np.pi * spectrograph / 16
    return (ra + 1.6 * float(np.sin(angle))) % 360, dec + 1.4 * float(np.cos(angle))


def plan_name(field: int, plan: int) -> str:
    """Return a plan's name, made like LAMOST's from the position of the field."""
    ra, dec = center_of(field)
    minutes = round(ra * 4)
    name = f"TD{minutes // 60:02d}{minutes % 60:02d}00N{int(dec):02d}0000"
    # Fields that repeat a position after a full circle stay distinct.
    return f"{name}{chr(ord('T') + min(field // 72, 6))}{plan + 1:02d}"


def draw_group(
    options: SurveyOptions, seed: int, field: int, spectrograph: int
) -> pl.DataFrame:
    """Draw the stars of one spectrograph in one field, with their fiber in each plan."""
    rng = generator(seed, "stars", field, spectrograph)
    table = draw_stars(
        rng,
        options.n_stars,
        center=center_of(field, spectrograph),
        radius=0.4,
        fractions={
            "giant": options.giants,
            "hot": options.hot_stars,
            "cool": options.cool_stars,
            "sb1": options.single_lined,
            "sb2": options.double_lined,
            "pulsator": options.pulsators,
            "eclipsing": options.eclipsing,
        },
        magnitudes=options.magnitudes,
        epoch=2_400_000.5 + options.first_night,
    )
    fibers = [
        generator(seed, "fibers", field, spectrograph, plan).permutation(_FIBERS) + 1
        for plan in range(options.n_plans)
    ]
    fibers = [chosen[: options.n_stars] for chosen in fibers]
    return table.with_columns(
        pl.lit(field, pl.Int64).alias("field_number"),
        pl.lit(spectrograph, pl.Int64).alias("spectrograph"),
        pl.Series("fibers", np.stack(fibers, axis=1).tolist(), pl.List(pl.Int64)),
    )


def draw_exposures(options: SurveyOptions, seed: int) -> pl.DataFrame:
    """Draw times, weather and zero points; a row per spectrograph, arm and exposure."""
    rows = [
        visit | _zero_points(options, seed, visit, spectrograph, arm)
        for visit in _visits(options, seed)
        for spectrograph in range(1, options.n_spectrographs + 1)
        for arm in range(len(instrument.ARMS))
    ]
    parts = ("offset_night_true", "offset_exposure_true", "offset_lamp_true")
    return pl.DataFrame(rows).with_columns(
        pl.sum_horizontal(parts).alias("offset_true")
    )


def _visits(options: SurveyOptions, seed: int) -> list[dict]:
    """Draw the exposures of all fields, the same for all spectrographs."""
    out = []
    for field in range(options.n_fields):
        out += _visits_of_field(options, seed, field)
    # A set share of exposures has the other lamp, so that small surveys have one too.
    n_alternate = round(options.alternate_lamp * len(out))
    order = generator(seed, "weather").permutation(len(out))
    for number, visit in enumerate(out):
        alternate = bool(order[number] < n_alternate)
        visit["lamp"] = LAMPS[alternate]
        visit["offset_lamp_true"] = options.alternate_lamp_offset * alternate
    return out


def _visits_of_field(options: SurveyOptions, seed: int, field: int) -> list[dict]:
    # Time-domain fields come back after one to eight nights, in the bright halves of
    # lunar months.
    steps = generator(seed, "nights", field).integers(1, 9, options.n_nights)
    nights = options.first_night + np.cumsum(steps) - steps[0]
    busy = (options.n_exposures * (options.exptime / 60 + 4)) / 2
    out = []
    for number, night in enumerate(nights.tolist()):
        # The sequence is centered between 21:00 and 03:00 local time; reading out and
        # moving on take four minutes. Fields never share a minute's identifier.
        rng = generator(seed, "nights", field, night)
        middle = night * 1440 + rng.integers(-180, 181)
        minute = int(middle - busy) // options.n_fields * options.n_fields + field
        for _ in range(options.n_exposures):
            cloudy = rng.uniform() < options.cloudy
            # LAMOST names an exposure by the minute in which it begins.
            second = int(rng.integers(60))
            clear, clouds = rng.beta(12, 2), 10 ** rng.uniform(-1.3, -0.3)
            out.append(
                {
                    "field": plan_name(field, number % options.n_plans),
                    "field_number": field,
                    "plan_number": number % options.n_plans,
                    "night": int(night),
                    "exposure_id": str(minute),
                    "minute": minute,
                    "start": float(sky.minute_to_utc(minute)) + second / 86_400,
                    "exptime": options.exptime,
                    "transparency_true": float(clear * (clouds if cloudy else 1.0)),
                }
            )
            minute += int(np.ceil(options.exptime / 60)) + 4
            minute += -(minute - field) % options.n_fields
    return out


def _zero_points(
    options: SurveyOptions, seed: int, visit: dict, spectrograph: int, arm: int
) -> dict:
    night = generator(seed, "night drift", visit["night"], spectrograph, arm)
    if options.night_range > 0:
        drift = night.uniform(-options.night_range, options.night_range)
    else:
        drift = night.normal(0, options.night_drift)
    own = generator(seed, "exposure drift", visit["minute"], spectrograph, arm)
    return {
        "spectrograph": spectrograph,
        "arm": instrument.ARMS[arm].name,
        "offset_night_true": float(drift),
        "offset_exposure_true": float(own.normal(0, options.exposure_drift)),
    }


def draw_fibers(options: SurveyOptions, seed: int) -> pl.DataFrame:
    """Draw what is peculiar to fibers; a row per spectrograph, arm and fiber."""
    return pl.concat(
        [
            _fibers_of(options, seed, spectrograph, index)
            for spectrograph in range(1, options.n_spectrographs + 1)
            for index in range(len(instrument.ARMS))
        ]
    )


def _fibers_of(
    options: SurveyOptions, seed: int, spectrograph: int, index: int
) -> pl.DataFrame:
    arm = instrument.ARMS[index]

    def draw(purpose: Purpose):
        return generator(seed, purpose, spectrograph, index).normal(size=_FIBERS)

    power = np.clip(1 + options.resolution_scatter * draw("resolution"), 0.5, 1.5)
    smile = np.linspace(-1, 1, _FIBERS) ** 2
    place = generator(seed, "dispersion", spectrograph, index).uniform(*arm.shifts)
    return pl.DataFrame(
        {
            "spectrograph": np.full(_FIBERS, spectrograph),
            "arm": np.full(_FIBERS, arm.name),
            "fiber": np.arange(1, _FIBERS + 1),
            "offset_true": options.fiber_offset * draw("fiber offset"),
            "resolution_true": arm.resolution * (1 + options.resolution_error) * power,
            "throughput_true": np.exp(0.15 * draw("throughput")),
            "shift": place + 1.5 * smile,
        }
    )


def offsets(exposures: pl.DataFrame, fibers: pl.DataFrame) -> pl.DataFrame:
    """Return the zero points of all families as one table."""
    names = ("family", "spectrograph", "arm", "exposure_id", "fiber", "offset_true")
    return pl.concat(
        [
            exposures.with_columns(
                pl.lit("spectrograph+arm+exposure_id").alias("family"),
                pl.lit(None, pl.Int64).alias("fiber"),
            ).select(names),
            fibers.with_columns(
                pl.lit("spectrograph+arm+fiber").alias("family"),
                pl.lit(None, pl.String).alias("exposure_id"),
            ).select(names),
        ]
    )

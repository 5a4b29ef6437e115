"""A survey of any size: the spectra of some of its stars, all at once.

`draw_plan` says what there is to observe; `make_shard` makes the spectra of any of its
stars, as rows of the table of visits and as pixels, from a random generator that
belongs to the shard's number. So shards can be made in any order, by any process, and
nothing but one shard and the plan is ever held.

The physics are those of `steadystar.simulate.mock`, without sky and nebulae: light and
noise of LAMOST's medium-resolution arms. As there, inverse variances come from a smooth
model of the light, so that the weights do not repeat the lines.

Numbers are rounded as an archive rounds them, so that they compress. The inverse
variance keeps 8 bits, and the noise is drawn from what is kept: no bias. Flux is rounded
to a power of two, at most a tenth of the smallest error of the spectrum's pixels: to the
nearest, so without bias where noise is many steps wide, and with a variance of a twelfth
of a squared step, at most 0.08% of the noise's own.
"""

__all__ = ["LargePlan", "LargeSurveyOptions", "Shard", "draw_plan", "make_shard"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.data.schema import conform
from steadystar.data.spectra import Spectra
from steadystar.data.status import Status
from steadystar.simulate import instrument, sky, stars
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.large_plan import LargePlan, draw_plan
from steadystar.simulate.plan import generator
from steadystar.simulate.uniform_pixels import (
    UNIFORM_ARMS,
    Broadened,
    UniformArm,
    resized,
)

_VIGNETTING = 5
_IVAR_BITS = 8
_PER_ANGSTROM = 2.0**16
"""Wavelengths that are each spectrum's own are rounded to this part: 0.5 m/s at most."""


@dataclass(frozen=True)
class Shard:
    """Some stars' spectra: visits and pixels in one order, and the truth of each."""

    visits: pl.DataFrame
    spectra: Spectra
    truth: pl.DataFrame


def make_shard(plan: LargePlan, members: pl.DataFrame, number: int) -> Shard:
    """Make all spectra of ``members``, some rows of the plan's stars, blue and red.

    ``number`` chooses the random numbers: the same members and number give the same
    spectra. Rows are in order of ``star_id, visit_id``. Wavelengths have the shape
    ``(spectrum, pixel)``, since both arms are in it.

    Raises:
        ValueError: a star moves farther than model spectra reach.
    """
    rng = generator(plan.seed, "noise", number)
    members = members.sort("star_id").with_row_index("star")
    arms = [resized(arm, plan.options.pixels) for arm in UNIFORM_ARMS]
    rows = _rows(plan, members).sort("star_id", "visit_id")
    rows = rows.with_columns(_motion(members, rows))
    flux = np.zeros((len(rows), plan.options.pixels), np.float32)
    ivar, wave = np.zeros_like(flux), np.empty(flux.shape)
    light = _Light(plan, members, rng)
    facts = pl.DataFrame()
    for arm in arms:
        mine = np.flatnonzero((rows["arm"] == arm.arm.name).to_numpy())
        seen = light.record(arm, rows[mine])
        wave[mine], flux[mine], ivar[mine] = seen.wave, seen.flux, seen.ivar
        facts = facts.vstack(seen.facts.with_columns(row=pl.Series(mine)))
    rows = rows.hstack(facts.sort("row").drop("row"))
    resolution = np.full(len(rows), arms[0].arm.resolution)
    spectra = Spectra(wave, flux, ivar, resolution, "barycenter")
    return Shard(_visits(rows, spectra), spectra, rows.select("visit_id", *_TRUTH))


_TRUTH = (
    *("star_id", "rv_true", "rv_2_true", "light_ratio_true", "teff_true"),
    *("offset_exposure_true", "offset_fiber_true", "correction_true", "rv_raw_true"),
    *("ivar_scale_true", "cosmic_rays_true", "dead_true", "broken_true"),
)


def _rows(plan: LargePlan, members: pl.DataFrame) -> pl.DataFrame:
    """Return a row a spectrum: star, exposure, fiber, time."""
    known = ("star", "star_id", "ra", "dec", "field_number", "spectrograph", "fiber")
    exposures = plan.exposures.rename({"offset_true": "offset_exposure_true_all"})
    rows = (
        members.select(*known, "n_exposures", "dead_true")
        .join(exposures, on=["field_number", "spectrograph"], maintain_order="left")
        .filter(pl.col("number") < pl.col("n_exposures"))
        .drop("offset_exposure_true", "offset_night_true", "offset_lamp_true")
        .rename({"offset_exposure_true_all": "offset_exposure_true"})
        .join(
            plan.fibers.rename({"offset_true": "offset_fiber_true"}),
            on=["spectrograph", "arm", "fiber"],
            maintain_order="left",
        )
    )
    middle = rows["start"].to_numpy() + rows["exptime"].to_numpy() / 2 / 86_400
    bjd, bary_corr = sky.barycentric(
        middle, rows["ra"].to_numpy(), rows["dec"].to_numpy()
    )
    place = pl.format(
        "sp{}-{}",
        pl.col("spectrograph").cast(pl.String).str.zfill(2),
        pl.col("fiber").cast(pl.String).str.zfill(3),
    )
    letter = pl.col("arm").str.slice(0, 1).str.to_uppercase()
    return rows.with_columns(
        pl.format("lamost-{}-{}-{}", "exposure_id", place, "arm").alias("visit_id"),
        pl.format(
            "med-{}-{}_{}.fits.gz[{}-{}]", "night", "field", place, letter, "minute"
        ).alias("path"),
        bjd=pl.Series(bjd),
        bary_corr=pl.Series(bary_corr),
        correction_true=pl.col("offset_exposure_true") + pl.col("offset_fiber_true"),
        survey=pl.lit("lamost-mrs"),
        telescope=pl.lit("lamost"),
    )


def _motion(members: pl.DataFrame, rows: pl.DataFrame) -> list[pl.Series]:
    """Return velocities and visible areas of both components at every row's time."""
    first = np.searchsorted(rows["star"].to_numpy(), np.arange(len(members) + 1))
    out = {name: np.full(len(rows), np.nan) for name in ("rv_true", "rv_2_true")}
    out |= {name: np.zeros(len(rows)) for name in ("area", "area_2")}
    bjd = rows["bjd"].to_numpy()
    for index, star in enumerate(members.iter_rows(named=True)):
        mine = slice(first[index], first[index + 1])
        for state, end in zip(stars.states(star, bjd[mine]), ("", "_2"), strict=False):
            out[f"rv{end}_true"][mine], out[f"area{end}"][mine] = state.rv, state.area
    raw = out["rv_true"] + rows["correction_true"].to_numpy()
    return [pl.Series(name, values) for name, values in out.items()] + [
        pl.Series("rv_raw_true", raw)
    ]


@dataclass(frozen=True)
class _Recorded:
    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    facts: pl.DataFrame


class _Light:
    """The light of a shard's stars, and what detectors make of it."""

    def __init__(self, plan: LargePlan, members: pl.DataFrame, rng) -> None:
        self.options, self.rng, self.members = plan.options, rng, members
        labels = members.select("teff_true", "logg_true", "feh_true").to_numpy()
        double = members.filter("double_lined_true")
        second = double.select("teff_2_true", "logg_2_true", "feh_true").to_numpy()
        self.labels = np.concatenate([labels, second])
        self.vsini = np.concatenate([members["vsini_true"], double["vsini_2_true"]])
        # The second component of a star is a row after all first ones.
        self.companion = np.full(len(members), -1)
        self.companion[double["star"].to_numpy()] = len(members) + np.arange(
            len(double)
        )
        self.photons = self._blue_photons()
        self.dead = members["dead_true"].to_numpy()

    def _blue_photons(self) -> NDArray[np.float64]:
        """Return the stars' mean photon flux in the blue arm, which magnitudes measure."""
        models = UNIFORM_ARMS[0].models
        each = np.mean(models.wave * models(self.labels).continuum, axis=1)
        total = each[: len(self.members)].copy()
        double = np.flatnonzero(self.companion >= 0)
        area = self.members["area_2_true"].to_numpy()[double]
        total[double] += area * each[self.companion[double]]
        return total

    def record(self, arm: UniformArm, rows: pl.DataFrame) -> _Recorded:
        """Record the spectra of ``rows``, all of one arm."""
        options, rng, star = self.options, self.rng, rows["star"].to_numpy()
        moved = np.log1p(rows["bary_corr"].to_numpy() / C_KMS)
        if not options.own_wavelengths:
            moved = np.zeros(len(rows))
        light, smooth, ratio = self._starlight(arm, rows, moved)
        counts = self._counts(arm, rows)
        light *= counts
        smooth *= counts
        variance = instrument.GAIN * smooth + np.float32(arm.arm.background)
        scatter = rng.standard_normal(len(rows))
        scale = options.ivar_scale * np.exp(options.ivar_scale_scatter * scatter)
        ivar = _few_bits((scale**2).astype(np.float32)[:, None] / variance)
        sigma = scale.astype(np.float32)[:, None] / np.sqrt(ivar)
        snr = np.median(light * np.sqrt(ivar), axis=1)
        if options.noise:
            light += sigma * rng.standard_normal(light.shape, np.float32)
        rays = self._add_cosmic_rays(light, smooth, rows)
        flux = _rounded(light, sigma, options.steps_per_sigma)
        self._spoil_pixels(flux, ivar, star)
        broken = self._break(flux, ivar)
        facts = {
            "snr": np.round(np.maximum(snr.astype(float), 0.0), 2),
            "light_ratio_true": ratio,
            "teff_true": self.labels[star, 0],
            "ivar_scale_true": scale,
            "cosmic_rays_true": rays,
            "broken_true": broken,
        }
        wave = np.exp(arm.log_wave + moved[:, None])
        if options.own_wavelengths:
            wave = np.rint(wave * _PER_ANGSTROM) / _PER_ANGSTROM
        return _Recorded(wave, flux, ivar, pl.DataFrame(facts))

    def _starlight(self, arm: UniformArm, rows: pl.DataFrame, moved):
        """Return light and smooth light in relative units, and the ratio of the stars."""
        star = rows["star"].to_numpy()
        seen = Broadened(arm, self.labels, self.vsini, arm.arm.resolution)
        correction = rows["correction_true"].to_numpy()

        def component(index, place, rv, area):
            shift = np.log1p((rv + correction[place]) / C_KMS) - moved[place]
            lines = seen.seen(index, shift)
            level = seen.level[index] * (area / self.photons[star[place]])[:, None]
            mean = np.mean(lines, axis=1, keepdims=True)
            return level * lines, level * mean, level.mean(axis=1)

        place = np.arange(len(rows))
        rv, area = rows["rv_true"].to_numpy(), rows["area"].to_numpy()
        light, smooth, first = component(star, place, rv, area)
        ratio = np.zeros(len(rows))
        both = np.flatnonzero(self.companion[star] >= 0)
        if len(both):
            rv, area = rows["rv_2_true"].to_numpy(), rows["area_2"].to_numpy()
            more, more_smooth, second = component(
                self.companion[star[both]], both, rv[both], area[both]
            )
            light[both] += more
            smooth[both] += more_smooth
            ratio[both] = second / np.maximum(first[both], 1e-9 * second)
        return light.astype(np.float32), smooth.astype(np.float32), ratio

    def _counts(self, arm: UniformArm, rows: pl.DataFrame) -> NDArray[np.float32]:
        """Return the throughput in counts, with slow wiggles of the continuum."""
        star, rng = rows["star"].to_numpy(), self.rng
        shape = np.tile(np.array(arm.arm.vignetting), (len(rows), 1))
        shape[:, 1:4] += rng.normal(0, 0.08, (len(self.members), 3))[star]
        shape[:, 1:4] += rng.normal(0, 0.02, (len(rows), 3))
        magnitude = self.members["magnitude"].to_numpy()[star]
        level = np.log(arm.arm.efficiency * rows["exptime"].to_numpy() / 1200)
        level = level - 0.4 * np.log(10) * (magnitude - 11.4)
        level = level + np.log(rows["transparency_true"].to_numpy())
        level = level + np.log(rows["throughput_true"].to_numpy())
        shape[:, 0] += level
        x = np.linspace(-1, 1, arm.pixels, dtype=np.float32)
        powers = np.stack([x**power for power in range(_VIGNETTING)])
        counts = np.exp(shape.astype(np.float32) @ powers)
        counts[self.dead[star]] = 0
        return counts

    def _add_cosmic_rays(self, flux, level, rows: pl.DataFrame) -> NDArray[np.int64]:
        """Add rays of up to four pixels, in place; return their number by spectrum."""
        rng, pixels = self.rng, flux.shape[1]
        mean = self.options.cosmic_rays * rows["exptime"].to_numpy() / 1200
        number = rng.poisson(mean)
        spectrum = np.repeat(np.arange(len(rows)), number)
        pixel = rng.integers(4, pixels - 8, len(spectrum))
        height = 10 ** rng.uniform(2.4, 4.3, len(spectrum))
        height = np.minimum(height, 5 * np.maximum(level[spectrum, pixel], 400.0))
        length = rng.integers(1, 5, len(spectrum))
        brightest = rng.integers(length)
        for along in range(4):
            part = np.where(along == brightest, 1.0, rng.uniform(0.2, 1, len(spectrum)))
            part *= along < length
            np.add.at(flux, (spectrum, pixel + along), (height * part).astype("f4"))
        return number

    def _spoil_pixels(self, flux, ivar, star) -> None:
        """Take out the flagged pixels of every star's fiber, the same in all exposures."""
        rng, size = self.rng, len(self.members)
        number = np.minimum(rng.poisson(self.options.bad_pixels, size), 99)
        pixels = rng.integers(0, flux.shape[1], (size, 99))
        for row, mine in enumerate(star):
            bad = pixels[mine, : number[mine]]
            flux[row, bad] = 0
            ivar[row, bad] = 0

    def _break(self, flux, ivar) -> NDArray[np.bool_]:
        """Lose all, or the second half, of some spectra, in place; say which."""
        rng = self.rng
        broken = rng.uniform(size=len(flux)) < self.options.broken
        whole = rng.uniform(size=len(flux)) < 0.5
        for row in np.flatnonzero(broken):
            lost = slice(0 if whole[row] else flux.shape[1] // 2, None)
            flux[row, lost] = 0
            ivar[row, lost] = 0
        return broken


def _few_bits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to a mantissa of a few bits."""
    drop = 23 - _IVAR_BITS
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (1 << (drop - 1))) >> drop << drop).view(np.float32)


def _rounded(flux, sigma, steps: float) -> NDArray[np.float32]:
    """Round each spectrum to a power of two that is small against its noise."""
    if not steps:
        return flux
    finest = sigma.min(axis=1, keepdims=True) / np.float32(steps)
    step = np.exp2(np.floor(np.log2(finest)))
    np.divide(flux, step, out=flux)
    np.rint(flux, out=flux)
    np.multiply(flux, step, out=flux)
    # There is no negative zero in a file.
    flux += np.float32(0)
    return flux


def _visits(rows: pl.DataFrame, spectra: Spectra) -> pl.DataFrame:
    """Return what a reader would know of the spectra."""
    n_good = (spectra.ivar > 0).sum(axis=1)
    broken, snr = rows["broken_true"].to_numpy(), rows["snr"].to_numpy()
    status = np.where(n_good == 0, int(Status.NO_DATA), 0)
    status |= np.where(broken, int(Status.DAMAGED_VALUES), 0)
    status |= np.where(snr <= 0, int(Status.LOW_SNR), 0)
    frame = rows.with_columns(
        n_good=pl.Series(n_good, dtype=pl.Int64),
        status=pl.Series(status, dtype=pl.Int64),
    )
    frame = conform(frame, "visits")
    return frame.select(conform(pl.DataFrame(), "visits").columns)

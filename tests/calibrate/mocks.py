"""Invented tables of visits, with the truth beside them."""

import numpy as np
import polars as pl


def xiong(seed: int, *, errors: str = "visit") -> tuple[pl.DataFrame, dict]:
    """The mock of Xiong et al. 2021, section 3.3: one spectrograph, 30 exposures.

    ``errors``: measurement errors of 0 to 2 km/s are drawn per "visit" or per "star".
    """
    rng = np.random.default_rng(seed)
    exposures, nights = 30, 7
    night = np.sort(
        np.r_[np.arange(nights), rng.integers(0, nights, exposures - nights)]
    )
    time = night * 10.0 + rng.uniform(0, 0.3, exposures)
    zero = rng.uniform(-7, 7, nights)[night] + rng.normal(0, 0.5, exposures)
    stars = 250
    true = np.zeros((stars, exposures))
    true[:200] = rng.uniform(-0.1, 0.1, (200, exposures))
    change = rng.uniform(2, 10, 10)
    true[200:210] = rng.uniform(-0.5, 0.5, (10, exposures)) * change[:, None]
    amplitude, period = rng.uniform(3, 15, 40), rng.uniform(0.5, 3, 40)
    phase = rng.uniform(0, 2 * np.pi, 40)
    true[210:] = amplitude[:, None] * np.sin(
        2 * np.pi * time / period[:, None] + phase[:, None]
    )
    shape = (stars, exposures) if errors == "visit" else (stars, 1)
    err = np.broadcast_to(rng.uniform(0, 2, shape), (stars, exposures))
    rv = true + zero + rng.normal(0, 1, (stars, exposures)) * err
    star, exposure = np.divmod(np.arange(stars * exposures), exposures)
    visits = pl.DataFrame(
        {
            "star_id": [f"s{i:03d}" for i in star],
            "spectrograph": np.full(len(star), 4),
            "arm": ["red"] * len(star),
            "exposure_id": [f"e{t:02d}" for t in exposure],
            "rv_raw": rv.ravel(),
            "rv_raw_err": err.ravel(),
        }
    )
    jitter = 0.1 / np.sqrt(3)
    truth = {
        "zero": zero,
        "group": exposure,
        "constant": star < 200,
        "sigma": np.hypot(err.ravel(), jitter),
        "n_groups": exposures,
    }
    return visits, truth


def fibers(
    seed: int,
    stars: int = 24_000,
    n_fibers: int = 300,
    error: float = 6.0,
    floor: float = 0.04,
) -> tuple:
    """A survey like APOGEE: bundles of 30 fibers, few stars that change the bundle.

    12% binaries with semi-amplitudes of 0.2 to 30 km/s, S/N 20 to 300. Given errors are
    ``error / snr``; true ones have the ``floor`` besides (km/s).
    """
    rng = np.random.default_rng(seed)
    n_visits = rng.integers(3, 13, stars)
    star = np.repeat(np.arange(stars), n_visits)
    n = len(star)
    bundle = rng.integers(0, n_fibers // 30, stars)[star]
    roams = (rng.random(stars) < 0.03)[star]
    bundle = np.where(roams, rng.integers(0, n_fibers // 30, n), bundle)
    fiber = 30 * bundle + rng.integers(0, 30, n)
    zero = rng.normal(0, 0.1, n_fibers)
    snr = np.exp(rng.uniform(np.log(20), np.log(300), stars))[star]
    snr = np.clip(snr * np.exp(rng.normal(0, 0.2, n)), 20, 300)
    err = error / snr
    binary = rng.random(stars) < 0.12
    amplitude = np.where(
        binary, np.exp(rng.uniform(np.log(0.2), np.log(30), stars)), 0.0
    )
    velocity = rng.normal(0, 40, stars)[star] + amplitude[star] * np.sin(
        rng.uniform(0, 2 * np.pi, n)
    )
    sigma = np.hypot(err, floor)
    visits = pl.DataFrame(
        {
            "star_id": star,
            "fiber": fiber,
            "snr": snr,
            "rv_raw": velocity + zero[fiber] + rng.normal(0, 1, n) * sigma,
            "rv_raw_err": err,
        }
    )
    truth = {
        "zero": zero,
        "group": fiber,
        "constant": ~binary[star],
        "sigma": sigma,
        "n_groups": n_fibers,
        "star": star,
        "floor": floor,
        "amplitude": amplitude,
    }
    return visits, truth


def two_sites(seed: int, stars: int = 400, visits: int = 12) -> tuple:
    """Two telescopes that share no star; exposures and fibers have offsets at each.

    Exposures scatter by 1 km/s, fibers by 0.3; an eighth of the exposures of the second
    telescope's spectrograph was calibrated with a lamp that makes them read 6.5 larger.
    """
    rng = np.random.default_rng(seed)
    exposures, fibers_each = 40, 25
    star = np.repeat(np.arange(2 * stars), visits)
    site = star // stars
    exposure = rng.integers(0, exposures, len(star))
    fiber = rng.integers(0, fibers_each, len(star))
    drift = rng.normal(0, 0.3, (2, exposures))
    lamp = np.zeros((2, exposures), bool)
    lamp[1, :: exposures // 5] = True
    bias = rng.normal(0, 0.3, (2, fibers_each))
    err = 0.2 * rng.uniform(0.5, 2, len(star))
    varies = (rng.random(2 * stars) < 0.12)[star]
    rv = rng.normal(0, 30, 2 * stars)[star] + varies * rng.normal(0, 8, len(star))
    zero = drift[site, exposure] + 6.5 * lamp[site, exposure] + bias[site, fiber]
    rv += zero + rng.normal(0, 1, len(star)) * err
    table = pl.DataFrame(
        {
            "star_id": star,
            "telescope": np.where(site == 0, "north", "south"),
            "exposure_id": exposure,
            "fiber": fiber,
            "rv_raw": rv,
            "rv_raw_err": err,
        }
    )
    return table, {"zero": zero, "lamp": lamp[site, exposure], "site": site}


def field(
    seed: int = 0,
    *,
    stars: int = 40,
    exposures: int = 10,
    variable: float = 0.15,
    error: float = 0.3,
    spectrograph: int = 4,
    name: str = "f",
    spread: float = 2.0,
    share: float = 1.0,
) -> pl.DataFrame:
    """One spectrograph on one field, with the truth in columns ``true_*``.

    Every star keeps its fiber; ``share`` of all possible visits exist.
    """
    rng = np.random.default_rng(seed)
    star, exposure = np.divmod(np.arange(stars * exposures), exposures)
    keep = rng.random(len(star)) < share
    star, exposure = star[keep], exposure[keep]
    n = len(star)
    zero = rng.normal(0, spread, exposures)
    amplitude = np.where(np.arange(stars) < variable * stars, 12.0, 0.0)
    err = error * rng.uniform(0.5, 1.5, n)
    true = rng.normal(0, 30, stars)[star] + amplitude[star] * np.sin(
        rng.uniform(0, 2 * np.pi, n)
    )
    return pl.DataFrame(
        {
            "visit_id": [
                f"{name}-{s:03d}-{e:02d}" for s, e in zip(star, exposure, strict=True)
            ],
            "star_id": [f"{name}{s:03d}" for s in star],
            "field": [name] * n,
            "spectrograph": np.full(n, spectrograph),
            "arm": ["red"] * n,
            "exposure_id": [f"{name}{e:02d}" for e in exposure],
            "fiber": 1 + star % 250,
            "rv_raw": true + zero[exposure] + rng.normal(0, 1, n) * err,
            "rv_raw_err": err,
            "true_zero": zero[exposure],
            "true_constant": amplitude[star] == 0,
        }
    )

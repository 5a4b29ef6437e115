"""Magnitudes and parallaxes of invented stars, as archives would give them.

Colors of unreddened stars are those of `steadystar.models.intrinsic_colors`, dust dims
them by Fitzpatrick (1999) integrated over the bands (`steadystar.models.dust`), the
light of companions is added band by band. Errors: Gaia's grow with magnitude as the
mission's own formula for DR3 parallaxes; its zero point is that of Lindegren et al. (2021,
A&A 649, A4) by the package ``gaiadr3-zeropoint``. Pan-STARRS saturates near 13.5 mag.
"""

__all__ = ["archive_names", "dimming", "intrinsic", "observe_photometry"]

import warnings
from collections.abc import Mapping, Sequence

import erfa
import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.models.dust import dust
from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.simulate.hot_options import HotSurveyOptions

BANDS = ("g", "bp", "rp", "j", "h", "ks", "g_ps", "r_ps", "i_ps", "z_ps", "y_ps")
"""Bands of the simulated photometry."""

_SATURATED = 13.5
_GAIA_SYSTEM = {"g": 0.0027553, "bp": 0.0027902, "rp": 0.0037794}
"""Errors of Gaia DR3's photometric zero points, mag; its fluxes' errors leave them out."""


def dimming(band: str, teff: NDArray, ebv: NDArray) -> NDArray[np.float64]:
    """Return by how many magnitudes dust dims stars of ``teff`` (K) in a band."""
    return dust().magnitudes(band, teff, ebv)


def intrinsic(
    stars: Mapping[str, NDArray], bands: Sequence[str] = BANDS
) -> dict[str, NDArray[np.float64]]:
    """Return absolute magnitudes without dust of stars or, where double, of pairs.

    ``stars``: ``teff, logg, feh, m_ks`` and the same of companions, NaN for none.
    """
    colors = intrinsic_colors()
    lowest = colors.teff_range[0]
    out = {}
    for band in bands:
        light = np.zeros(len(stars["teff"]))
        for end in ("", "_2"):
            teff = np.maximum(stars[f"teff{end}"], lowest)
            color = colors.color(band, "ks", teff, stars[f"logg{end}"], stars["feh"])
            part = 10 ** (-0.4 * (stars[f"m_ks{end}"] + color))
            light += np.nan_to_num(part)
        out[band] = -2.5 * np.log10(light)
    return out


def observe_photometry(stars: pl.DataFrame, options: HotSurveyOptions) -> pl.DataFrame:
    """Return the photometry and astrometry of stars, in steadystar's names.

    One row a star: ``star_id, gaia_id, ra, dec``, bands with ``_err``, ``parallax,
    parallax_error, parallax_offset, pmra, ..., ruwe`` and what the zero point needs.
    """
    rng = np.random.default_rng([options.seed, 73])
    columns = {name: stars[name].fill_null(np.nan).to_numpy() for name in _NEEDED}
    modulus = 5 * np.log10(columns["distance_pc"] / 10)
    size = len(stars)
    out: dict[str, object] = {
        "star_id": stars["star_id"],
        "gaia_id": [
            str(3_000_000_000_000_000_000 + 8_388_608 * k) for k in range(size)
        ],
        "ra": stars["ra"],
        "dec": stars["dec"],
    }
    disk = {"ks": 1.0, "h": 0.6, "j": 0.3}
    seen: dict[str, NDArray] = {}
    for band, absolute in intrinsic(columns).items():
        true = absolute + modulus + dimming(band, columns["teff"], columns["ebv"])
        true = true - disk.get(band, 0.0) * columns["disk_ks"]
        error = _error(band, true) * np.exp(rng.normal(0, 0.1, size))
        if band in _GAIA_SYSTEM:
            error = np.maximum(error, 1.01 * _GAIA_SYSTEM[band])
        seen[band] = true + error * rng.normal(size=size)
        lost = band.endswith("_ps") & (true < _SATURATED)
        out[band] = np.where(lost, np.nan, np.round(seen[band], 4))
        out[f"{band}_err"] = np.where(lost, np.nan, np.round(error, 6))
    out |= _astrometry(rng, stars, seen, options)
    return pl.DataFrame(out).fill_nan(None)


_NEEDED = (
    *("teff", "logg", "feh", "m_ks", "teff_2", "logg_2", "m_ks_2"),
    *("distance_pc", "ebv", "disk_ks"),
)


def _error(band: str, magnitude: NDArray) -> NDArray[np.float64]:
    """Return typical errors of magnitudes."""
    if band in _GAIA_SYSTEM:
        faint = {"g": 21.5, "bp": 19.0, "rp": 18.5}[band]
        counted = 0.0005 + 0.05 * 10 ** (0.4 * (magnitude - faint))
        return np.hypot(_GAIA_SYSTEM[band], counted)
    if band in ("j", "h", "ks"):
        # Errors of 2MASS reach a tenth near its limits.
        limit = {"j": 15.8, "h": 15.1, "ks": 14.3}[band]
        return np.hypot(0.02, 0.1 * 10 ** (0.4 * (magnitude - limit)))
    return np.hypot(0.012, 0.02 * 10 ** (0.4 * (magnitude - 19)))


def _astrometry(
    rng, stars: pl.DataFrame, seen: dict[str, NDArray], options: HotSurveyOptions
) -> dict[str, NDArray]:
    size = len(stars)
    z = np.maximum(10 ** (0.4 * (13.0 - 15.0)), 10 ** (0.4 * (seen["g"] - 15.0)))
    # Gaia's formula for parallaxes of DR3, microarcseconds.
    error = 1e-3 * np.sqrt(40 + 800 * z + 30 * z**2)
    error = error * np.exp(np.abs(rng.normal(0, 0.25, size)))
    ruwe = np.exp(rng.normal(0.02, 0.06, size))
    double = stars["double"].to_numpy()
    wobbling = double & (rng.uniform(size=size) < 0.3)
    ruwe = np.where(wobbling, ruwe * (1 + rng.exponential(0.8, size)), ruwe)
    error = error * np.maximum(1, ruwe)
    # Effective wavenumber from the color (Lindegren et al. 2021, equation 3).
    nu_eff = 1.76 - 1.61 / np.pi * np.arctan(0.531 * (seen["bp"] - seen["rp"]))
    latitude = _ecliptic_latitude(stars["ra"].to_numpy(), stars["dec"].to_numpy())
    offset = np.zeros(size)
    if options.zero_point:
        offset = _zero_point(seen["g"], nu_eff, latitude)
    noise = options.parallax_error * error * rng.normal(size=size)
    motion = rng.normal(0, 20, (2, size)) / 4.74e-3 / stars["distance_pc"].to_numpy()
    return {
        "parallax": np.round(stars["parallax_true"].to_numpy() + offset + noise, 5),
        "parallax_error": np.round(error, 5),
        "parallax_offset": np.round(offset, 6),
        "pmra": np.round(motion[0], 4),
        "pmra_error": np.round(1.03 * error, 5),
        "pmdec": np.round(motion[1], 4),
        "pmdec_error": np.round(0.9 * error, 5),
        "ruwe": np.round(ruwe, 4),
        "nu_eff_used_in_astrometry": np.round(nu_eff, 5),
        "ecl_lat": np.round(latitude, 6),
        "astrometric_params_solved": np.full(size, 31),
    }


def _ecliptic_latitude(ra: NDArray, dec: NDArray) -> NDArray[np.float64]:
    tilt = erfa.obl06(2_451_545.0, 0.0)
    a, d = np.radians(ra), np.radians(dec)
    sine = np.sin(d) * np.cos(tilt) - np.cos(d) * np.sin(tilt) * np.sin(a)
    return np.degrees(np.arcsin(sine))


def _zero_point(g: NDArray, nu_eff: NDArray, latitude: NDArray) -> NDArray[np.float64]:
    from zero_point import zpt

    zpt.load_tables()
    solved = np.full(len(g), 31)
    with warnings.catch_warnings():
        # It warns of stars beyond its range of colors, and answers.
        warnings.simplefilter("ignore")
        found = zpt.get_zpt(
            np.clip(g, 6.0, 21.0),
            nu_eff,
            np.full(len(g), np.nan),
            latitude,
            solved,
            _warnings=False,
        )
    return np.asarray(found, float)


_ARCHIVE = {
    "gaia_id": "source_id",
    "g": "phot_g_mean_mag",
    "bp": "phot_bp_mean_mag",
    "rp": "phot_rp_mean_mag",
    "j": "j_m",
    "h": "h_m",
    "ks": "ks_m",
    "j_err": "j_msigcom",
    "h_err": "h_msigcom",
    "ks_err": "ks_msigcom",
} | {
    f"{band}_ps{end}": f"{band}MeanPSFMag{err}"
    for band in "grizy"
    for end, err in (("", ""), ("_err", "Err"))
}


def archive_names(photometry: pl.DataFrame) -> pl.DataFrame:
    """Return photometry under the names that the archives of Gaia and 2MASS use.

    Gaia gives no errors of magnitudes but fluxes over their errors, without that of the
    zero point; the zero point of parallaxes is left for the user to find.
    """
    fluxes = [
        (1.0857362 / (pl.col(f"{band}_err") ** 2 - system**2).sqrt()).alias(
            f"phot_{band}_mean_flux_over_error"
        )
        for band, system in _GAIA_SYSTEM.items()
    ]
    return (
        photometry.with_columns(fluxes)
        .drop("star_id", "parallax_offset", "g_err", "bp_err", "rp_err")
        .rename(_ARCHIVE)
        .with_columns(pl.col("source_id").cast(pl.Int64))
    )

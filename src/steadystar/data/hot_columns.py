"""Columns of the tables of hot stars: spectra, magnitudes, extinction, distances.

``DISTANCES`` is what ``steadystar distances`` adds to a table of magnitudes and
parallaxes; ``HOT`` is the catalog of ``steadystar hot``, one row a spectrum: the columns
of table 1 of Xiang et al. (2021), in lower case, and what goes beyond them.
`steadystar.data.schema` lists both under ``TABLES``.
"""

__all__ = ["BUDGET", "COMPOSITES", "DISTANCES", "HOT", "HOT_BANDS"]

import polars as pl

from steadystar.data.column import Column

_TEXT, _INT, _FLOAT = pl.String, pl.Int64, pl.Float64
_M_KS = "phys.magAbs;em.IR.K"
_PLX = "pos.parallax"
_DIST = "pos.distance"


def _float(name: str, unit: str, ucd: str, meaning: str, optional: bool = False):
    return Column(name, _FLOAT, unit, ucd, meaning, optional)


HOT_BANDS = {
    "g": ("phot.mag;em.opt", "Gaia G"),
    "bp": ("phot.mag;em.opt.B", "Gaia BP"),
    "rp": ("phot.mag;em.opt.R", "Gaia RP"),
    "j": ("phot.mag;em.IR.J", "2MASS J"),
    "h": ("phot.mag;em.IR.H", "2MASS H"),
    "ks": ("phot.mag;em.IR.K", "2MASS Ks"),
}
"""Bands of the catalog: UCD and name; optical surveys' bands are optional."""


def _magnitudes(names: tuple[str, ...]) -> tuple[Column, ...]:
    out = []
    for band in names:
        ucd, meaning = HOT_BANDS[band]
        out.append(_float(band, "mag", ucd, f"{meaning} magnitude"))
        out.append(
            _float(f"{band}_err", "mag", f"stat.error;{ucd}", f"Error of {band}")
        )
    return tuple(out)


_STAR = (
    Column("star_id", _TEXT, "", "meta.id", "Identifier of the star"),
    _float("ra", "deg", "pos.eq.ra", "Right ascension, ICRS"),
    _float("dec", "deg", "pos.eq.dec", "Declination, ICRS"),
)
_MAGNITUDE = (
    _float("m_ks", "mag", _M_KS, "Absolute Ks magnitude of the star"),
    _float(
        "m_ks_err", "mag", f"stat.error;{_M_KS}", "Error of m_ks, everything included"
    ),
)
_REDDENING = (
    _float("ebv", "mag", "phot.color.excess", "Reddening E(B-V)"),
    _float("ebv_err", "mag", "stat.error;phot.color.excess", "Error of ebv"),
)
_PARALLAX = (
    _float("parallax", "mas", _PLX, "Parallax as published"),
    _float("parallax_error", "mas", f"stat.error;{_PLX}", "Error of the parallax"),
)
_OFFSET = "Zero point of the parallax; subtracted from it"
_RESULTS = (
    _float("dis", "pc", _DIST, "Distance where its posterior is highest"),
    _float("dis_low", "pc", f"{_DIST};stat.min", "16th percentile of the distance"),
    _float("dis_high", "pc", f"{_DIST};stat.max", "84th percentile of the distance"),
    _float("logdis", "", _DIST, "Mean of log10(distance/pc) over the posterior"),
    _float("logdis_err", "", f"stat.stdev;{_DIST}", "Deviation of log10(distance/pc)"),
    _float(
        "snr_dparallax",
        "",
        "stat.snr;pos.parallax;arith.diff",
        "Spectroscopic minus measured parallax, in units of its error",
    ),
    Column(
        "binary_flag",
        _INT,
        "",
        "meta.code",
        "1 over-luminous by more than 2 sigma, 0 not, -1 unknown",
    ),
    _float("p_binary", "", "stat.probability", "Probability of an over-luminous pair"),
    _float("x", "kpc", "pos.cartesian.x;pos.galactic", "Galactic X, Sun at -8.2"),
    _float("y", "kpc", "pos.cartesian.y;pos.galactic", "Galactic Y"),
    _float("z", "kpc", "pos.cartesian.z;pos.galactic", "Galactic Z"),
)

DISTANCES = (
    _STAR[0],
    *(Column(c.name, c.dtype, c.unit, c.ucd, c.meaning, True) for c in _STAR[1:]),
    *_MAGNITUDE,
    *_magnitudes(("ks",)),
    *_REDDENING,
    *_PARALLAX,
    _float("parallax_offset", "mas", f"{_PLX};arith.zp", _OFFSET, True),
    *_RESULTS,
    Column("distance_status", _TEXT, "", "meta.note", "What is wrong, in words"),
)
"""One row a star, in the order of the input, with the input's other columns after."""

_SPECTRUM = (
    Column("specid", _TEXT, "", "meta.id;meta.main", "Identifier of the spectrum"),
    Column("fitsname", _TEXT, "", "meta.id;meta.file", "File of the spectrum"),
    *_STAR[1:],
    Column("uniqflag", _INT, "", "meta.code", "1 best S/N of the star, 2, 3 repeats"),
    _STAR[0],
    _float("snr_g", "", "stat.snr", "Signal-to-noise ratio per pixel, 4750-5550 A"),
    _float("rv", "km/s", "spect.dopplerVeloc", "Velocity, barycentric"),
    _float("rv_err", "km/s", "stat.error;spect.dopplerVeloc", "Error of rv"),
)
_LABELS = (
    _float("teff", "K", "phys.temperature.effective", "Effective temperature"),
    _float("teff_err", "K", "stat.error;phys.temperature.effective", "Error of teff"),
    _float("logg", "", "phys.gravity", "Surface gravity, log10 of cm/s2"),
    _float("logg_err", "", "stat.error;phys.gravity", "Error of logg"),
    _float("feh", "", "phys.abund.Fe", "Metallicity [Fe/H]"),
    _float("feh_err", "", "stat.error;phys.abund.Fe", "Error of feh"),
)
_EMISSION = (
    Column("em_flag", _INT, "", "meta.code", "1 H alpha emission, 0 none, -1 unknown"),
    _float(
        "em_excess",
        "",
        "spect.line.strength",
        "Mean flux above the reconstruction around H alpha, of the continuum",
    ),
    _float("em_snr", "", "stat.snr", "em_excess in units of its error"),
    _float("em_chi2", "", "stat.fit.chi2", "Chi2 a pixel of H alpha's residuals"),
    _float("recon_chi2", "", "stat.fit.chi2", "Chi2 a pixel of the reconstruction"),
)
_GEOMETRIC = (
    _float(
        "m_ks_meas_err",
        "mag",
        f"stat.error;{_M_KS}",
        "The part of m_ks_err that comes from the spectrum's noise",
    ),
    _float("m_ks_geo", "mag", _M_KS, "Ks - A_Ks + 5 log10(parallax) - 10"),
    _float("m_ks_geo_err", "mag", f"stat.error;{_M_KS}", "Error of m_ks_geo"),
)
_GAIA = (
    Column("gaia_id", _TEXT, "", "meta.id.cross", "Gaia source_id"),
    *_PARALLAX,
    _float("parallax_offset", "mas", f"{_PLX};arith.zp", _OFFSET),
    _float("pmra", "mas/yr", "pos.pm;pos.eq.ra", "Proper motion in ra, times cos(dec)"),
    _float("pmra_error", "mas/yr", "stat.error;pos.pm;pos.eq.ra", "Error of pmra"),
    _float("pmdec", "mas/yr", "pos.pm;pos.eq.dec", "Proper motion in dec"),
    _float("pmdec_error", "mas/yr", "stat.error;pos.pm;pos.eq.dec", "Error of pmdec"),
    _float("ruwe", "", "stat.fit.goodness", "Renormalized unit weight error"),
)

HOT = (
    *_SPECTRUM,
    *_MAGNITUDE,
    *_GEOMETRIC,
    *_RESULTS[:5],
    *_REDDENING,
    Column("bands_rejected", _TEXT, "", "meta.note", "Bands left out of ebv"),
    *_RESULTS[5:8],
    *_EMISSION,
    *_LABELS,
    *_GAIA,
    *_magnitudes(tuple(HOT_BANDS)),
    *_RESULTS[8:],
    Column("problems", _TEXT, "", "meta.note", "What is wrong, in words"),
)
"""One row a spectrum; the columns of Xiang et al. (2021), table 1, and more."""

BUDGET = (
    _float(
        "alpha", "", "stat.fit.param", "Slope less one: M_s = (1 + alpha) M_g + beta"
    ),
    _float("beta", "mag", "stat.fit.param", "Offset of spectroscopic magnitudes"),
    _float("sigma_100", "mag", "stat.error", "Error of M_Ks by noise, at S/N 100"),
    _float("sigma_int", "mag", "stat.stdev", "Intrinsic scatter of M_Ks"),
    _float("pairs", "", "stat.fit.param;arith.ratio", "Share of pairs", optional=True),
    _float(
        "odd", "", "stat.fit.param;arith.ratio", "Share of odd stars", optional=True
    ),
)
"""One row a sample of the error budget."""

COMPOSITES = (
    _float("teff_1", "K", "phys.temperature.effective", "Temperature of the primary"),
    _float("teff_2", "K", "phys.temperature.effective", "That of the secondary"),
    _float("m_ks_1", "mag", _M_KS, "M_Ks told by the primary's own spectrum"),
    _float("m_ks_2", "mag", _M_KS, "M_Ks told by the secondary's own spectrum"),
    _float("m_ks_pair", "mag", _M_KS, "M_Ks told by the sum of both"),
    _float(
        "flux_ratio", "", "phot.flux;arith.ratio", "Secondary's light over primary's"
    ),
)
"""One row a pair made of two single spectra on a common flux scale."""

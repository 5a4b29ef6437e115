"""What the columns of catalogs of stars are called, and what their numbers can be."""

__all__ = ["ERRORS", "IDENTIFIERS", "LIMITS", "NAMES", "UNITS", "error_names"]

IDENTIFIERS = (
    *("star_id", "standard_id", "apogee_id", "sdss_id", "source_id", "gaia_source_id"),
    *("gaia_id", "gaiadr3", "gaia_dr3", "designation", "kic", "kepid", "epic", "tic"),
    *("hip", "hd", "tmass_id", "2mass", "id", "name", "star", "object", "target"),
    *("main_id", "targetid"),
)

NAMES: dict[str, tuple[str, ...]] = {
    "star_id": IDENTIFIERS,
    "ra": (
        *("ra", "raj2000", "_raj2000", "ra_icrs", "radeg", "ra_deg", "_ra", "ra_gaia"),
        *("alpha", "right_ascension"),
    ),
    "dec": (
        *("dec", "dej2000", "_dej2000", "decj2000", "de_icrs", "dedeg", "dec_deg"),
        *("_de", "dec_gaia", "delta", "declination", "de"),
    ),
    "n_visits": (
        *("n_visits", "nvisits", "n_obs", "nobs", "n_epochs", "n_vis", "nvis"),
        *("rv_nb_transits",),
    ),
    "rv_scatter": ("rv_scatter", "vscatter", "rv_std", "rv_rms", "vscat"),
    "pmra": ("pmra", "pm_ra", "pmra_cosdec"),
    "pmdec": ("pmdec", "pm_dec", "pmde"),
    "epoch": ("ref_epoch", "epoch"),
    "rv": (
        *("rv", "rv_mean", "vhelio_avg", "radial_velocity", "vrad", "v_rad", "rvel"),
        *("hrv", "vhelio", "rv_raw", "rv_lasp1", "rv_lasp0", "velocity", "vel"),
    ),
    "teff": (
        *("teff", "t_eff", "teff_lasp", "teff_gspspec", "teff_gspphot", "teff_val"),
        *("temperature", "rv_teff"),
    ),
    "logg": (
        *("logg", "log_g", "logg_lasp", "logg_gspspec", "logg_gspphot", "logg_seis"),
        *("rv_logg",),
    ),
    "feh": (
        *("feh", "fe_h", "[fe/h]", "feh_lasp", "m_h", "[m/h]", "mh_gspspec"),
        *("mh_gspphot", "metallicity", "rv_feh"),
    ),
    "vsini": ("vsini", "v_sini", "vsin_i", "vbroad", "v_rot", "vrot"),
}
"""Our names, and what others call them in lower case, the likeliest first."""

ERRORS: dict[str, tuple[str, ...]] = {
    "rv": ("rv_err", "e_rv", "verr", "rvsig", "sigmarv", "vrelerr", "rv_error"),
    "teff": ("teff_err",),
    "logg": ("logg_err",),
    "feh": ("feh_err",),
    "vsini": ("vsini_err",),
}
"""Errors that are not called after their quantity's column, or after our name of it."""

UNITS = {
    "rv": "km/s",
    "rv_scatter": "km/s",
    "teff": "K",
    "logg": "dex",
    "feh": "dex",
    "vsini": "km/s",
    "pmra": "mas/yr",
    "pmdec": "mas/yr",
    "epoch": "yr",
}

LIMITS = {
    "rv": (-5000.0, 5000.0),
    "rv_scatter": (0.0, 5000.0),
    "teff": (1.0, 1e6),
    "logg": (-5.0, 15.0),
    "feh": (-15.0, 5.0),
    "vsini": (0.0, 2000.0),
    "n_visits": (0.0, 1e6),
    "pmra": (-2e4, 2e4),
    "pmdec": (-2e4, 2e4),
    "epoch": (1800.0, 2200.0),
    "ra": (-180.0, 360.0),
    "dec": (-90.0, 90.0),
}
"""Beyond are the -9999 of catalogs, and mistakes."""


def error_names(column: str) -> tuple[str, ...]:
    """Return what the error of a column may be called, in lower case."""
    name = column.casefold()
    return (
        *(f"{name}_err", f"e_{name}", f"{name}_error", f"{name}err", f"err_{name}"),
        *(f"sigma_{name}", f"{name}_sigma", f"sig_{name}", f"{name}_sig"),
        *(f"{name}_unc", f"u_{name}", f"{name}_e"),
    )

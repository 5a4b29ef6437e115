"""What tables of magnitudes and astrometry call their columns, in lower case.

Gaia's archive, VizieR's copies of Gaia, 2MASS, SDSS, Pan-STARRS1 and APASS, the table of
Xiang et al. (2021), and our own names, which come first.
"""

__all__ = ["ASTROMETRY", "ERRORS", "GAIA_FLUX", "MAGNITUDES", "ZERO_POINT_ERR"]

MAGNITUDES: dict[str, tuple[str, ...]] = {
    "g": ("phot_g_mean_mag", "gmag_gaia", "gaia_g", "g_gaia", "gaia_gmag"),
    "bp": ("phot_bp_mean_mag", "bpmag", "gaia_bp", "bp_gaia", "g_bp", "gbp"),
    "rp": ("phot_rp_mean_mag", "rpmag", "gaia_rp", "rp_gaia", "g_rp", "grp"),
    "j": ("j_m", "jmag", "j_2mass", "j_mag", "mag_j", "tmass_j", "jtmag"),
    "h": ("h_m", "hmag", "h_2mass", "h_mag", "mag_h", "tmass_h", "htmag"),
    "ks": (
        *(
            "ks_m",
            "k_m",
            "ksmag",
            "kmag",
            "k",
            "ks_2mass",
            "k_2mass",
            "ks_mag",
            "k_mag",
        ),
        *("mag_k", "mag_ks", "tmass_ks", "tmass_k", "kstmag", "k_s"),
    ),
    "b": ("bmag", "b_apass", "b_johnson", "apass_b", "johnson_mag_b"),
    "v": ("vmag", "v_apass", "v_johnson", "apass_v", "johnson_mag_v"),
    "u_sdss": ("psfmag_u", "upmag", "u_mag_sdss", "sdss_u"),
    "g_sdss": ("psfmag_g", "g'mag", "gpmag", "g_apass", "sloan_mag_g", "sdss_g"),
    "r_sdss": ("psfmag_r", "r'mag", "rpmag_sdss", "r_apass", "sloan_mag_r", "sdss_r"),
    "i_sdss": ("psfmag_i", "i'mag", "ipmag", "i_apass", "sloan_mag_i", "sdss_i"),
    "z_sdss": ("psfmag_z", "z'mag", "zpmag", "z_apass", "sloan_mag_z", "sdss_z"),
    "g_ps": ("gmeanpsfmag", "g_mean_psf_mag", "g_ps1", "gps1", "ps1_g"),
    "r_ps": ("rmeanpsfmag", "r_mean_psf_mag", "r_ps1", "rps1", "ps1_r"),
    "i_ps": ("imeanpsfmag", "i_mean_psf_mag", "i_ps1", "ips1", "ps1_i"),
    "z_ps": ("zmeanpsfmag", "z_mean_psf_mag", "z_ps1", "zps1", "ps1_z"),
    "y_ps": ("ymeanpsfmag", "y_mean_psf_mag", "y_ps1", "yps1", "ps1_y"),
}
"""Our bands, and what others call them; a bare g, r, i ... is settled by its company."""

ERRORS: dict[str, tuple[str, ...]] = {
    "j": ("j_msigcom", "j_msig", "j_cmsig", "ej", "e_j", "sig_j"),
    "h": ("h_msigcom", "h_msig", "h_cmsig", "eh", "e_h", "sig_h"),
    "ks": (
        *("k_msigcom", "ks_msigcom", "k_msig", "ks_msig", "k_cmsig", "ek", "eks"),
        *("e_k", "e_ks", "sig_k"),
    ),
    **{f"{b}_sdss": (f"psfmagerr_{b}", f"e_{b}'mag", f"e_{b}pmag") for b in "ugriz"},
    **{
        f"{b}_ps": (f"{b}meanpsfmagerr", f"{b}_mean_psf_mag_error", f"e_{b}ps1")
        for b in "grizy"
    },
}
"""Errors whose names do not follow from the name of the magnitude."""

GAIA_FLUX = {"g": "g", "bp": "bp", "rp": "rp"}
"""Bands whose error may be given as ``phot_X_mean_flux_over_error`` or by fluxes."""

ZERO_POINT_ERR = {"g": 0.0027553202, "bp": 0.0027901700, "rp": 0.0037793818}
"""Errors of the zero points of Gaia EDR3's and DR3's magnitudes, mag (Gaia EDR3's
documentation and VizieR I/350; added in quadrature, as VizieR does)."""

ASTROMETRY: dict[str, tuple[str, ...]] = {
    "gaia_id": (
        *("source_id", "gaia_source_id", "gaia_dr3_id", "gaia_dr2_id", "gaiadr3"),
        *("gaiaedr3", "gaiadr2", "dr3name", "edr3name", "dr2name", "gaia", "source"),
        "designation",
    ),
    "ra": ("ra_icrs", "raj2000", "_raj2000", "ra_deg", "radeg", "ra_gaia", "raobs"),
    "dec": ("de_icrs", "dej2000", "_dej2000", "dec_deg", "dedeg", "dec_gaia", "decobs"),
    "parallax": ("plx", "parallax_mas", "gaia_parallax"),
    "parallax_error": ("e_plx", "parallax_err", "parallax_e", "gaia_parallax_error"),
    "parallax_offset": ("plx_offset", "zero_point", "zpt", "parallax_zero_point"),
    "pmra": ("pm_ra", "pmracosdec", "gaia_pmra"),
    "pmra_error": ("e_pmra", "pmra_err", "gaia_pmra_error"),
    "pmdec": ("pmde", "pm_dec", "gaia_pmdec"),
    "pmdec_error": ("e_pmde", "pmdec_err", "gaia_pmdec_error"),
    "ruwe": ("gaia_ruwe",),
    "nu_eff_used_in_astrometry": ("nueff", "nu_eff"),
    "pseudocolour": ("pscol", "pseudocolor"),
    "ecl_lat": ("elat", "ecliptic_latitude"),
    "astrometric_params_solved": ("solved", "params_solved"),
    "ph_qual": ("qflg", "ph_qual_2mass", "qfl", "tmass_ph_qual", "phqual"),
}
"""What else a table of hot stars' photometry holds, and what others call it."""

"""Columns of the tables of spectra and their velocities.

``VISITS`` and ``VELOCITIES`` have one row a spectrum; ``OFFSETS`` one a group that shares
a zero point, ``REJECTED`` one a file that could not be read. `steadystar.data.schema`
lists them under ``TABLES``.
"""

__all__ = ["OFFSETS", "REJECTED", "RELATIVE", "VELOCITIES", "VISITS"]

from steadystar.data.column import (
    DEC,
    FLOAT,
    INT,
    RA,
    RV,
    STAR_ID,
    STATUS,
    TEXT,
    Column,
)

VISITS = (
    Column("visit_id", TEXT, "", "meta.id;meta.main", "Identifier of the spectrum"),
    STAR_ID,
    RA,
    DEC,
    Column("survey", TEXT, "", "meta.id;instr", "Survey or reader of the spectrum"),
    Column("field", TEXT, "", "meta.id;obs.field", "Field, plate or plan"),
    Column("night", INT, "d", "time.epoch;obs", "Night, modified Julian day (local)"),
    Column("exposure_id", TEXT, "", "meta.id;obs.exposure", "Identifier of exposure"),
    Column("telescope", TEXT, "", "meta.id;instr.tel", "Telescope"),
    Column("spectrograph", INT, "", "meta.id;instr", "Number of the spectrograph"),
    Column("fiber", INT, "", "meta.id;instr.param", "Number of the fiber"),
    Column("arm", TEXT, "", "meta.id;instr.bandpass", "Arm of the spectrograph"),
    Column(
        "bjd", FLOAT, "d", "time.epoch", "Middle of the exposure, BJD_TDB (float64)"
    ),
    Column("exptime", FLOAT, "s", "time.duration;obs.exposure", "Exposure time"),
    Column("snr", FLOAT, "", "stat.snr", "Signal-to-noise ratio per pixel"),
    Column(
        "bary_corr",
        FLOAT,
        "km/s",
        "spect.dopplerVeloc;arith.diff",
        "Barycentric correction: positive when the observatory moves to the star",
    ),
    Column("lamp", TEXT, "", "meta.id;instr.calib", "Arc lamp or its line list"),
    Column("n_good", INT, "", "meta.number", "Usable pixels"),
    Column(
        "ivar_scale",
        FLOAT,
        "",
        "stat.fit.chi2;arith.ratio",
        "Scatter of the residuals over what the inverse variance predicts",
    ),
    STATUS,
    Column(
        "path", TEXT, "", "meta.id;meta.file", "File, and extension, of the spectrum"
    ),
)

VELOCITIES = (
    *VISITS,
    Column("method", TEXT, "", "meta.code", "How the velocity was measured"),
    Column("rv_obs", FLOAT, "km/s", RV, "In the observatory's frame"),
    Column(
        "rv_raw", FLOAT, "km/s", RV + ";pos.barycenter", "Barycentric, uncalibrated"
    ),
    Column("rv_raw_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv_raw"),
    Column(
        "rv_limit",
        FLOAT,
        "km/s",
        "stat.error;" + RV,
        "Photon limit: the error if all but the velocity were known",
    ),
    Column("chi2", FLOAT, "", "stat.fit.chi2", "Chi squared at the best velocity"),
    Column("dof", INT, "", "stat.fit.dof", "Degrees of freedom of chi2"),
    Column(
        "reference_visit_id",
        TEXT,
        "",
        "meta.id.cross",
        "Visit that defined the zero of a relative velocity",
    ),
    Column("rv_2", FLOAT, "km/s", RV, "Velocity of the second star in the spectrum"),
    Column("rv_2_err", FLOAT, "km/s", "stat.error;" + RV, "Error of rv_2"),
    Column(
        "light_ratio",
        FLOAT,
        "",
        "phot.flux;arith.ratio",
        "Light of the second over the first",
    ),
    Column(
        "correction",
        FLOAT,
        "km/s",
        RV + ";arith.zp",
        "Sum of the offsets of all families; subtracted from rv_raw",
    ),
    Column(
        "correction_err", FLOAT, "km/s", "stat.error;arith.zp", "Error of correction"
    ),
    Column(
        "correction_common_err",
        FLOAT,
        "km/s",
        "stat.error;arith.zp",
        "The part of correction_err that all visits of the star have in common",
    ),
    Column("rv", FLOAT, "km/s", RV + ";meta.main", "Calibrated: rv_raw - correction"),
    Column("rv_err", FLOAT, "km/s", "stat.error;" + RV + ";meta.main", "Error of rv"),
)

OFFSETS = (
    Column("offset", FLOAT, "km/s", RV + ";arith.zp", "Zero point of the group"),
    Column("offset_err", FLOAT, "km/s", "stat.error;arith.zp", "Error of offset"),
    Column("n_visits", INT, "", "meta.number", "Visits in the group"),
    Column("n_stars", INT, "", "meta.number", "Stars in the group"),
    Column("n_constant", INT, "", "meta.number", "Constant stars in the group"),
    Column(
        "component",
        INT,
        "",
        "meta.id",
        "Connected set of groups; each set has its own gauge (weighted mean zero)",
    ),
    STATUS,
)
"""The columns after those of the family itself, whose dtypes are the input's."""

REJECTED = (
    Column(
        "path",
        TEXT,
        "",
        "meta.id;meta.file",
        "File, and extension if only that is bad",
    ),
    Column("reader", TEXT, "", "meta.id", "Reader that tried, or all that were tried"),
    Column("reason", TEXT, "", "meta.note", "Why it could not be read"),
    Column("remedy", TEXT, "", "meta.note", "What to do about it"),
)

RELATIVE = (
    STAR_ID,
    Column("exposure_id", TEXT, "", "meta.id;obs.exposure", "Identifier of exposure"),
    Column("ra", FLOAT, "deg", "pos.eq.ra", "Right ascension, ICRS"),
    Column("dec", FLOAT, "deg", "pos.eq.dec", "Declination, ICRS"),
    Column(
        "hjd",
        FLOAT,
        "d",
        "time.epoch",
        "Middle of the exposure; in spite of its name this is BJD_TDB",
    ),
    *(
        column
        for arm, words in (("r", "red arm"), ("b", "blue arm"))
        for column in (
            Column(
                f"SNR_{arm}",
                FLOAT,
                "",
                "stat.snr",
                f"Signal-to-noise ratio per pixel, {words}",
            ),
            Column(
                f"DRV_{arm}",
                FLOAT,
                "km/s",
                RV,
                f"Relative velocity as measured, {words}",
            ),
            Column(
                f"DRV_{arm}_err",
                FLOAT,
                "km/s",
                "stat.error;" + RV,
                f"Error of the measurement, {words}",
            ),
            Column(
                f"DRV_{arm}_corr",
                FLOAT,
                "km/s",
                RV,
                f"Relative velocity after self-calibration, {words}",
            ),
        )
    ),
)
"""Table 2 of Xiong et al. (2021): one row a star and exposure, both arms beside."""

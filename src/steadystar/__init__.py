"""Velocities that can be trusted, from multi-epoch multi-fiber spectroscopic surveys.

What comes first feeds what follows; every name here can be used on its own, on arrays
and polars tables.

What is recorded, and reading it:

    Spectra                what was recorded: wavelengths, flux, ivar, resolution
    Status                 why a measurement is trustworthy, or not; flags that combine
    read                   one file, of any survey we know -> visits and their spectra
    read_folder            every file of a folder, matched into stars
    read_table             Parquet, FITS, VOTable, ECSV or CSV -> table
    read_velocity_table    the velocities that others published -> our columns

A survey whose truth is known:

    simulate_survey        a survey that never was: files, and the truth
    SurveyOptions          what to simulate

Velocities, of stars against themselves or absolute:

    measure_relative       every star against itself -> one velocity a spectrum
    RelativeOptions        how: method, windows, limits
    StarTemplates          a star's template, kept so that its zero stays what it was
    measure_velocities     spectra against templates of all types -> absolute velocities
    VelocityOptions        how: windows, search range, rank
    Templates              normalized spectra at rest: models, or the survey's own
    measure_absolute       the same for a survey's visits, templates chosen by wavelength
    measure_together       arms, dithers, exposures -> one velocity of all of them

What a star is:

    measure_labels         spectra -> temperature, gravity, metallicity, rotation
    label_visits           the same for a survey's visits, arms of an exposure at once
    fit_labels             spectra of stars with known labels -> LabelModel
    LabelModel             what spectra look like; `apply` measures labels with it
    fit_luminosity         spectra of hot stars with parallaxes -> LuminosityModel
    LuminosityModel        what a spectrum says of the absolute magnitude

What a spectrum is made of, and what it can tell:

    separate_components    spectra -> sky, continuum, lines, noise, each with its error
    Component              what is known of one of them before: mean and covariance
    photon_limit           the smallest error that a velocity can have

Zero points and errors:

    fit_zeropoints         visits -> zero points of exposures, spectrographs, fibers
    ZeroPointOptions       which families of offsets, by which method
    ZeroPoints             the result; `apply` takes it off a table
    fit_error_model        constant stars -> what the errors should have been
    ErrorModel             the result: a scale and a floor for each group
    forecast_zeropoints    planned visits -> how well they would be calibrated
    compare_with_standards visits against stars of known velocity -> the absolute zero

Stars, from calibrated visits and catalogs:

    summarize_stars        calibrated visits -> stars: mean, scatter, constant or not
    find_variables         calibrated visits -> constant or variable, of which class, and why
    fit_orbit              visits of one star -> samples of all orbits that are possible
    find_periods           calibrated visits -> periods: errors, chances, aliases
    periodogram            one star's velocities -> power at all frequencies
    PeriodOptions          how: range, kind of noise, number of modes
    compare_catalogs       two catalogs of the same stars -> bias, scatter, structure
    CompareOptions         how: matching, clipping, what is set aside
    estimate_extinction    temperature and magnitudes in several bands -> E(B-V)
    estimate_distances     parallax, magnitude, reddening -> distance, single or a pair
    DistanceOptions        how: pairs, prior, extinction
    summarize_labels       labels of spectra -> of stars: means, errors, constant or not
    cross_match            stars -> their counterparts in a catalog, one to one

What others read:

    write_report           tables -> pages with figures, no network needed
    ReportInputs           what goes into it: tables, texts, spectra, truth
    export                 a table -> FITS, VOTable, CSV with units and meanings

All of it at once:

    run_pipeline           all of it on a folder of files, resumable, on many cores
    calibrate_table        the calibration alone, on somebody's table
    Configuration          all options, from and to TOML

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadystar.calibrate.errors import ErrorModel, fit_error_model
    from steadystar.calibrate.forecast import forecast_zeropoints
    from steadystar.calibrate.standards import compare_with_standards
    from steadystar.calibrate.zeropoint import (
        ZeroPointOptions,
        ZeroPoints,
        fit_zeropoints,
    )
    from steadystar.data.component import Component
    from steadystar.data.spectra import Spectra
    from steadystar.data.status import Status
    from steadystar.data.tables import read_table
    from steadystar.infer.compare import compare_catalogs
    from steadystar.infer.comparison import CompareOptions
    from steadystar.infer.distance import estimate_distances
    from steadystar.infer.distance_options import DistanceOptions
    from steadystar.infer.extinction import estimate_extinction
    from steadystar.infer.labels import summarize_labels
    from steadystar.infer.orbit import fit_orbit
    from steadystar.infer.period_options import PeriodOptions
    from steadystar.infer.periodogram import periodogram
    from steadystar.infer.periods import find_periods
    from steadystar.infer.summary import summarize_stars
    from steadystar.infer.variability import find_variables
    from steadystar.measure.absolute import measure_absolute
    from steadystar.measure.components import separate_components
    from steadystar.measure.information import photon_limit
    from steadystar.measure.label_training import fit_labels
    from steadystar.measure.labels import LabelModel, measure_labels
    from steadystar.measure.luminosity import LuminosityModel
    from steadystar.measure.luminosity_training import fit_luminosity
    from steadystar.measure.relative import (
        RelativeOptions,
        StarTemplates,
        measure_relative,
    )
    from steadystar.measure.survey_labels import label_visits
    from steadystar.measure.together import measure_together
    from steadystar.measure.velocities import VelocityOptions, measure_velocities
    from steadystar.models.templates import Templates
    from steadystar.pipeline.config import Configuration
    from steadystar.pipeline.run import run_pipeline
    from steadystar.pipeline.tables import calibrate_table
    from steadystar.publish.catalog import export
    from steadystar.publish.inputs import ReportInputs
    from steadystar.publish.report import write_report
    from steadystar.simulate.mock import SurveyOptions, simulate_survey
    from steadystar.survey.catalogs import read_velocity_table
    from steadystar.survey.crossmatch import cross_match
    from steadystar.survey.folder import read_folder
    from steadystar.survey.registry import read

__all__ = [
    "CompareOptions",
    "Component",
    "Configuration",
    "DistanceOptions",
    "ErrorModel",
    "LabelModel",
    "LuminosityModel",
    "PeriodOptions",
    "RelativeOptions",
    "ReportInputs",
    "Spectra",
    "StarTemplates",
    "Status",
    "SurveyOptions",
    "Templates",
    "VelocityOptions",
    "ZeroPointOptions",
    "ZeroPoints",
    "calibrate_table",
    "compare_catalogs",
    "compare_with_standards",
    "cross_match",
    "estimate_distances",
    "estimate_extinction",
    "export",
    "find_periods",
    "find_variables",
    "fit_error_model",
    "fit_labels",
    "fit_luminosity",
    "fit_orbit",
    "fit_zeropoints",
    "forecast_zeropoints",
    "label_visits",
    "measure_absolute",
    "measure_labels",
    "measure_relative",
    "measure_together",
    "measure_velocities",
    "periodogram",
    "photon_limit",
    "read",
    "read_folder",
    "read_table",
    "read_velocity_table",
    "run_pipeline",
    "separate_components",
    "simulate_survey",
    "summarize_labels",
    "summarize_stars",
    "write_report",
]

_ROOMS = {
    "CompareOptions": "infer.comparison",
    "Component": "data.component",
    "Configuration": "pipeline.config",
    "DistanceOptions": "infer.distance_options",
    "ErrorModel": "calibrate.errors",
    "LabelModel": "measure.labels",
    "LuminosityModel": "measure.luminosity",
    "PeriodOptions": "infer.period_options",
    "RelativeOptions": "measure.relative",
    "ReportInputs": "publish.inputs",
    "Spectra": "data.spectra",
    "StarTemplates": "measure.relative",
    "Status": "data.status",
    "SurveyOptions": "simulate.mock",
    "Templates": "models.templates",
    "VelocityOptions": "measure.velocities",
    "ZeroPointOptions": "calibrate.zeropoint",
    "ZeroPoints": "calibrate.zeropoint",
    "calibrate_table": "pipeline.tables",
    "compare_catalogs": "infer.compare",
    "compare_with_standards": "calibrate.standards",
    "cross_match": "survey.crossmatch",
    "estimate_distances": "infer.distance",
    "estimate_extinction": "infer.extinction",
    "export": "publish.catalog",
    "find_variables": "infer.variability",
    "find_periods": "infer.periods",
    "fit_error_model": "calibrate.errors",
    "fit_labels": "measure.label_training",
    "fit_luminosity": "measure.luminosity_training",
    "fit_orbit": "infer.orbit",
    "fit_zeropoints": "calibrate.zeropoint",
    "forecast_zeropoints": "calibrate.forecast",
    "label_visits": "measure.survey_labels",
    "measure_absolute": "measure.absolute",
    "measure_labels": "measure.labels",
    "measure_relative": "measure.relative",
    "measure_together": "measure.together",
    "measure_velocities": "measure.velocities",
    "periodogram": "infer.periodogram",
    "photon_limit": "measure.information",
    "read": "survey.registry",
    "read_folder": "survey.folder",
    "read_table": "data.tables",
    "read_velocity_table": "survey.catalogs",
    "run_pipeline": "pipeline.run",
    "separate_components": "measure.components",
    "simulate_survey": "simulate.mock",
    "summarize_labels": "infer.labels",
    "summarize_stars": "infer.summary",
    "write_report": "publish.report",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("steadystar")
    if name not in _ROOMS:
        raise AttributeError(f"module 'steadystar' has no attribute {name!r}")
    value = getattr(import_module(f"steadystar.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

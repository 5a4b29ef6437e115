"""One configuration file for a whole run.

Each room documents its own options, in a frozen dataclass whose fields read
``name: Annotated[type, "what it is, with unit"] = default``. This module puts them side
by side, one section a room, reads them from TOML, and writes the documented default
file from the same sentences, so that documentation and code cannot disagree.

A section's hash is part of the fingerprint of the stages that use it: changing an
option redoes what depends on it, and nothing else.
"""

__all__ = ["Configuration", "ConfigurationError", "MatchOptions", "RunOptions"]

import dataclasses
import difflib
import hashlib
import json
import textwrap
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from steadystar.calibrate.errors import ErrorModelOptions
from steadystar.calibrate.options import ZeroPointOptions
from steadystar.data.match import RADIUS_ARCSEC
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.extinction import ExtinctionOptions
from steadystar.infer.labels import LabelSummaryOptions
from steadystar.infer.luminosity_errors import ErrorBudgetOptions
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.summary import SummaryOptions
from steadystar.infer.variability import VariabilityOptions
from steadystar.measure.absolute import AbsoluteOptions
from steadystar.measure.emission import EmissionOptions
from steadystar.measure.label_options import LabelOptions
from steadystar.measure.luminosity import LuminosityOptions
from steadystar.measure.relative import RelativeOptions
from steadystar.pipeline.hot_options import HotOptions
from steadystar.publish.inputs import ReportOptions
from steadystar.simulate.hot_options import HotSurveyOptions
from steadystar.simulate.large_options import LargeSurveyOptions
from steadystar.simulate.mock import SurveyOptions
from steadystar.survey.crossmatch import CrossMatchOptions
from steadystar.survey.observation import ReadOptions


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message says what, why and what to do."""


@dataclasses.dataclass(frozen=True)
class MatchOptions:
    """Which spectra are of the same star."""

    radius_arcsec: Annotated[
        float, "Positions within this distance are the same star, arcsec."
    ] = RADIUS_ARCSEC

    def __post_init__(self) -> None:
        if not 0 < self.radius_arcsec < 3600:
            raise ValueError(
                f"radius_arcsec = {self.radius_arcsec} is no matching radius: give "
                "arcseconds between 0 and 3600."
            )


@dataclasses.dataclass(frozen=True)
class LabelStageOptions(LabelOptions):
    """Labels of stars: effective temperature, log g, [Fe/H], rotation."""

    measure: Annotated[bool, "Whether labels are measured."] = True


@dataclasses.dataclass(frozen=True)
class StarOptions(SummaryOptions, LabelSummaryOptions):
    """How stars are judged, and which spectra enter their mean labels."""

    def __post_init__(self) -> None:
        SummaryOptions.__post_init__(self)
        LabelSummaryOptions.__post_init__(self)


@dataclasses.dataclass(frozen=True)
class OrbitStageOptions(OrbitOptions):
    """Orbits of stars that vary: the prior, how much of it is tried, and of whom."""

    in_run: Annotated[
        bool,
        "Whether `run` fits orbits of the stars that vary, a second or more each; "
        "`steadystar orbits` does so later.",
    ] = False
    most: Annotated[
        int,
        "Stars whose orbits `run` fits, at most, those first that vary most surely.",
    ] = 100

    def __post_init__(self) -> None:
        OrbitOptions.__post_init__(self)
        if self.most < 0:
            raise ValueError(f"most = {self.most}: give 0 or more stars.")


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What is measured, and how the work is divided."""

    velocities: Annotated[
        Literal["both", "relative", "absolute"],
        "Velocities of each star against itself (relative), against model spectra "
        "(absolute), or both: each spectrum then has two rows, of different method.",
    ] = "both"
    files_per_batch: Annotated[
        int, "Files that are read as one unit of work; an interrupted one starts again."
    ] = 200
    shards: Annotated[
        int,
        "Parts into which the stars are divided by a hash of their star_id, a power of "
        "two; 0 chooses, about 500 spectra a part, and again when the survey has grown.",
    ] = 0
    device_batch: Annotated[
        int,
        "Spectra that are on an accelerator (a GPU) at a time, at most; fewer need less "
        "of its memory. A processor works on few at a time anyway.",
    ] = 2048
    references: Annotated[
        str,
        "Label of the set of reference spectra and templates. They are made once and "
        "kept; change this text to have new ones made for all stars.",
    ] = "first"
    patience: Annotated[
        float,
        "How long a run waits for a Dask scheduler that is gone, or for workers when "
        "there are none, s.",
    ] = 600.0

    def __post_init__(self) -> None:
        if not self.patience >= 0:
            raise ValueError(f"patience = {self.patience}: give 0 or more seconds.")
        if self.files_per_batch < 1:
            raise ValueError(
                f"files_per_batch = {self.files_per_batch}: give at least 1."
            )
        if self.device_batch < 8:
            raise ValueError(f"device_batch = {self.device_batch}: give at least 8.")
        if not 0 <= self.shards <= 65_536 or self.shards & (self.shards - 1):
            raise ValueError(
                f"shards = {self.shards}: give 0 (choose) or a power of two to 65536."
            )


class Configuration(BaseModel):
    """All options of a run, by section; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: ReadOptions = ReadOptions()
    match: MatchOptions = MatchOptions()
    measure: RelativeOptions = RelativeOptions()
    absolute: AbsoluteOptions = AbsoluteOptions()
    labels: LabelStageOptions = LabelStageOptions()
    zeropoints: ZeroPointOptions = ZeroPointOptions()
    errors: ErrorModelOptions = ErrorModelOptions()
    stars: StarOptions = StarOptions()
    variables: VariabilityOptions = VariabilityOptions()
    periods: PeriodOptions = PeriodOptions()
    orbits: OrbitStageOptions = OrbitStageOptions()
    catalogs: CrossMatchOptions = CrossMatchOptions()
    report: ReportOptions = ReportOptions()
    run: RunOptions = RunOptions()
    simulate: SurveyOptions = SurveyOptions()
    hot: HotOptions = HotOptions()
    extinction: ExtinctionOptions = ExtinctionOptions()
    emission: EmissionOptions = EmissionOptions()
    luminosity: LuminosityOptions = LuminosityOptions()
    budget: ErrorBudgetOptions = ErrorBudgetOptions()
    distances: DistanceOptions = DistanceOptions()
    hot_survey: HotSurveyOptions = HotSurveyOptions()
    large_survey: LargeSurveyOptions = LargeSurveyOptions()

    @classmethod
    def load(cls, path: str | Path) -> "Configuration":
        """Read a TOML file; what it leaves out keeps its default.

        Raises:
            ConfigurationError: the file cannot be read or is not TOML, it has a section
                or option that does not exist (the nearest name is suggested), or a
                value of the wrong kind.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(
                f"The configuration {path} cannot be read: {error.strerror}. Write a "
                "documented one with `steadystar run --write-config FILE`."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The configuration {path} is not valid TOML: {error}. Compare it with "
                "what `steadystar run --write-config FILE` writes."
            ) from error
        return cls.from_values(values, source=str(path))

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], source: str = "the configuration"
    ) -> "Configuration":
        """Make a configuration from nested dictionaries; see `load` for errors."""
        _refuse_unknown(cls, values, "", source)
        try:
            # Strict, and by way of JSON: "5" is no number, true is no number either,
            # but a list becomes a tuple.
            return cls.model_validate_json(json.dumps(values, default=str), strict=True)
        except ValidationError as error:
            raise ConfigurationError(_sentence(cls, error, source)) from error

    def section_hash(self, *names: str) -> str:
        """Hash of the values of the named sections; equal values, equal hash.

        Of files only their names count: stages hash their content, wherever they lie.
        """
        values = {name: dataclasses.asdict(getattr(self, name)) for name in names}
        for section, option in _FILES:
            if section in values:
                values[section][option] = _without_folder(values[section][option])
        text = json.dumps(values, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def hash(self) -> str:
        """Hash of all sections: what tables carry as their configuration hash."""
        return self.section_hash(*type(self).model_fields)

    def to_toml(self) -> str:
        """Return the configuration as TOML, every option documented."""
        lines = [
            "# Configuration of steadystar. Every option is shown with its value; what",
            "# is left out keeps its default.",
        ]
        for name in type(self).model_fields:
            lines += _section_lines(name, getattr(self, name))
        return "\n".join(lines) + "\n"


_FILES = (
    ("absolute", "templates"),
    ("catalogs", "catalogs"),
    ("hot", "model"),
    ("hot", "photometry"),
    ("hot", "zero_point"),
    ("report", "targets"),
)
"""Options that name files, or folders, which may be moved with a run."""


def _without_folder(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_folder(path) for name, path in value.items()}
    return Path(value).name


def _options(options: Any) -> Iterator[tuple[str, str, Any]]:
    """Name, sentence and type of every option of a dataclass or of a model."""
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        if typing.get_origin(hint) is Annotated:
            kind, *notes = typing.get_args(hint)
            said = next((note for note in notes if isinstance(note, str)), "")
            yield name, said, kind
        elif name != "model_config" and typing.get_origin(hint) is not typing.ClassVar:
            yield name, "", hint


def _refuse_unknown(
    kind: Any, values: Mapping[str, Any], place: str, source: str
) -> None:
    known = {name: hint for name, _, hint in _options(kind) if name[0] != "_"}
    what = "option" if place else "section"
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            remedy = (
                f"Did you mean {place}{near[0]}?"
                if near
                else f"There are: {', '.join(known)}."
            )
            raise ConfigurationError(
                f"{source}: there is no {what} {place}{name}. {remedy}"
            )
        if dataclasses.is_dataclass(known[name]):
            if not isinstance(value, Mapping):
                raise ConfigurationError(
                    f"{source}: {place}{name} is a section, not a value: write "
                    f"[{place}{name}] and its options below."
                )
            _refuse_unknown(known[name], value, f"{place}{name}.", source)


def _sentence(kind: Any, error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "value_error":  # an options class found it, and says the remedy
        return f"{source}: [{place}] {reason}."
    reason = reason[:1].lower() + reason[1:]
    said = _documentation(kind, place)
    return f"{source}: {place} = {first['input']!r}: {reason}. {said}".rstrip()


def _documentation(kind: Any, place: str) -> str:
    """Return the sentence that documents the option at a dotted ``place``."""
    sentence = ""
    for part in place.split("."):
        found = {name: (said, hint) for name, said, hint in _options(kind)}
        if part not in found:
            break
        sentence, kind = found[part]
        if not dataclasses.is_dataclass(kind):
            break
    return sentence


def _section_lines(place: str, section: Any) -> list[str]:
    title = (type(section).__doc__ or "").strip().splitlines()
    lines = ["", *(f"# {title[0]}" for _ in title[:1]), f"[{place}]"]
    nested = []
    for name, sentence, _ in _options(type(section)):
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            nested.append((f"{place}.{name}", value))
            continue
        lines += [f"# {line}" for line in _wrapped(sentence)]
        lines.append(
            f"# {name} =    (not set)" if value is None else f"{name} = {_toml(value)}"
        )
    for deeper, value in nested:
        lines += _section_lines(deeper, value)
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 86, break_on_hyphens=False, break_long_words=False)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Path):
        return _toml(str(value))
    if isinstance(value, Mapping):
        pairs = (f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise TypeError(f"An option of type {type(value).__name__} has no form in TOML.")

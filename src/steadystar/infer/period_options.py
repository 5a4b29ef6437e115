"""What is searched for periods, and what counts as noise."""

__all__ = ["PeriodOptions"]

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np


@dataclass(frozen=True)
class PeriodOptions:
    """How periods are searched for."""

    min_period: Annotated[
        float,
        "Shortest period, d; no main-sequence stars in contact go around in less than "
        "about 0.22 d (Rucinski 1992).",
    ] = 0.2
    max_period: Annotated[
        float | None, "Longest period, d; None: twice the star's baseline."
    ] = None
    oversampling: Annotated[int, "Frequencies within one over the baseline."] = 5
    n_peaks: Annotated[int, "Peaks listed of each star, at most."] = 5
    n_modes: Annotated[
        int, "Sines at different periods that are looked for in one star, at most."
    ] = 1
    max_fap: Annotated[
        float, "A further sine is taken up if its false-alarm probability is below."
    ] = 0.01
    noise: Annotated[
        Literal["added", "scaled", "known"],
        "What noise may be: that of the errors and any scatter added to it (added), the "
        "errors times any factor (scaled), the errors alone (known).",
    ] = "added"
    draws: Annotated[
        int,
        "Stars of noise drawn at each star's own times for its false-alarm probability; "
        "0: Baluev's (2008) upper bound instead.",
    ] = 200
    jackknife: Annotated[
        Literal["auto", "visit", "night"],
        "What is left out for the band; auto: nights, if there are six, else visits.",
    ] = "auto"
    min_visits: Annotated[int, "Stars with fewer visits are not searched."] = 4
    seed: Annotated[int, "Of the draws of noise."] = 0

    def __post_init__(self) -> None:
        low = {"oversampling": 2, "n_peaks": 1, "n_modes": 1, "draws": 0}
        for name, least in low.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is too small: give {least} or more."
                )
        if 0 < self.draws < 20:
            raise ValueError(
                f"draws = {self.draws} say nothing about chances: give 20 or more, or 0 "
                "for an analytic bound."
            )
        longest = np.inf if self.max_period is None else self.max_period
        if not 0 < self.min_period < longest:
            raise ValueError(
                f"Periods from {self.min_period} to {self.max_period} d are no range: "
                "give a positive min_period, and a longer max_period."
            )

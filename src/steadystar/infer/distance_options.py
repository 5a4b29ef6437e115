"""Options of distances, and of who is over-luminous."""

__all__ = ["DistanceOptions"]

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from steadystar.survey.columns import CatalogError


@dataclass(frozen=True)
class DistanceOptions:
    """How distances follow from parallaxes and magnitudes."""

    pairs: Annotated[
        Literal["mixture", "published", "ignore"],
        "Unresolved pairs: mixture (every star is single or a pair with the probability "
        "that its table suggests), published (those with binary_flag 1 by parallax "
        "alone), ignore (all are taken for single).",
    ] = "mixture"
    prior: Annotated[
        Literal["distance", "volume"],
        "What is as likely everywhere: every distance (as published), or every volume.",
    ] = "distance"
    max_distance: Annotated[
        float, "Largest distance of a star that has a parallax only, pc."
    ] = 30_000.0
    a_ks_per_ebv: Annotated[float, "A_Ks over E(B-V)."] = 0.30
    flag_sigma: Annotated[
        float, "Over-luminous by so many standard deviations is binary_flag 1."
    ] = 2.0
    pair_fraction: Annotated[
        float | None, "Share of pairs, from 0 to 1; None: as the table suggests."
    ] = None
    sun_x: Annotated[
        float,
        "Place of the Sun on the x axis, kpc; the Galactic center is at 0 (8.2 +- 0.1, "
        "Bland-Hawthorn & Gerhard 2016).",
    ] = -8.2
    fit_rows: Annotated[
        int, "Of larger tables so many rows, spread evenly, tell the share of pairs."
    ] = 10_000

    def __post_init__(self) -> None:
        kinds = {
            "pairs": ("mixture", "published", "ignore"),
            "prior": ("distance", "volume"),
        }
        for name, known in kinds.items():
            if getattr(self, name) not in known:
                raise CatalogError(
                    f"{name} = {getattr(self, name)!r} is unknown: give one of "
                    f"{', '.join(known)}."
                )
        limits = {
            "max_distance": (0.0, np.inf),
            "flag_sigma": (0.0, np.inf),
            "fit_rows": (0, np.inf),
        }
        for name, (low, high) in limits.items():
            if not low < getattr(self, name) < high:
                raise CatalogError(
                    f"{name} = {getattr(self, name)}: give a number above {low:g}."
                )
        if not 0 <= self.a_ks_per_ebv < np.inf:
            raise CatalogError(
                f"a_ks_per_ebv = {self.a_ks_per_ebv}: give a number, 0 for no extinction."
            )
        if not np.isfinite(self.sun_x):
            raise CatalogError(f"sun_x = {self.sun_x}: give a number in kpc.")
        if self.pair_fraction is not None and not 0 <= self.pair_fraction <= 1:
            raise CatalogError(
                f"pair_fraction = {self.pair_fraction}: give a share from 0 to 1, or None."
            )

    @property
    def slope(self) -> float:
        """By how much the prior grows with the distance modulus: c in exp(c mu).

        Distances that are as likely everywhere, p(d) = d^n with n = 0 (2 for volumes),
        are p(mu) = exp((n + 1) ln(10)/5 mu), since d = 10^(mu/5 + 1) pc.
        """
        power = {"distance": 0, "volume": 2}[self.prior]
        return (power + 1) * float(np.log(10)) / 5

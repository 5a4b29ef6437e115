"""Stars whose distances are known, with parallaxes, magnitudes and companions."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class MockStars:
    """The table as an observer has it, and the truth; arrays ``(star,)``."""

    table: pl.DataFrame
    distance: NDArray
    pair: NDArray
    delta: NDArray

    def inside(self, done: pl.DataFrame) -> NDArray:
        """Return whether the 68% interval holds the distance."""
        low, high = done["dis_low"].to_numpy(), done["dis_high"].to_numpy()
        return (low < self.distance) & (self.distance < high)


def mock_stars(
    number: int,
    seed: int,
    pairs: float = 0.12,
    m_ks_err: float = 0.25,
    exponent: float = 2.0,
    equal: bool = False,
) -> MockStars:
    """Draw stars.

    Distances are of a gamma distribution (shape 3, mean 2.1 kpc), parallax errors 0.02 to
    0.08 mas, E(B-V) 0.3 in the mean, known to 0.03 mag. A share ``pairs`` has a companion
    of mass ratio q between 0 and 1 (``equal``: 1), which adds q^exponent of light.
    """
    rng = np.random.default_rng(seed)
    distance = np.clip(rng.gamma(3, 700, number), 100, None)
    m_ks = rng.normal(-1, 1, number)
    ebv = rng.gamma(2, 0.15, number)
    pair = rng.random(number) < pairs
    ratio = np.ones(number) if equal else rng.random(number)
    delta = np.where(pair, 2.5 * np.log10(1 + ratio**exponent), 0)
    ks = m_ks + 5 * np.log10(distance) - 5 + 0.3 * ebv - delta
    error = rng.uniform(0.02, 0.08, number)
    table = pl.DataFrame(
        {
            "star_id": [f"s{i}" for i in range(number)],
            "m_ks": m_ks + rng.normal(0, m_ks_err, number),
            "m_ks_err": np.full(number, m_ks_err),
            "ks": ks + rng.normal(0, 0.02, number),
            "ks_err": np.full(number, 0.02),
            "ebv": ebv + rng.normal(0, 0.03, number),
            "ebv_err": np.full(number, 0.03),
            "parallax": 1000 / distance + rng.normal(0, error),
            "parallax_error": error,
        }
    )
    return MockStars(table, distance, pair, delta)

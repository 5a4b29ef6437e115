"""An orbit and the zero points of many observatories, fitted together."""

import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PERIOD, ECCENTRICITY, AMPLITUDE = 51.4, 0.42, 48.0


@pytest.fixture
def alpha_dra(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("alpha_dra")


def observed(module, seed=1, scatter=1.0):
    """Sixty visits by eight observatories whose zeros scatter by 3 km/s."""
    rng = np.random.default_rng(seed)
    time = 2_460_000 + np.sort(rng.uniform(0, 300, 60))
    where = rng.integers(0, 8, 60)
    zero = rng.normal(0, 3, 8)
    nu = module.true_anomaly(2 * np.pi * (time - 2_460_010) / PERIOD, ECCENTRICITY)
    rv = AMPLITUDE * np.cos(nu + 0.4) + zero[where] + rng.normal(0, scatter, 60)
    names = [f"o{i}" for i in range(8)]
    return module.Visits(time, rv, np.full(60, 0.05), where, names), zero


def test_keplers_equation_is_solved(alpha_dra):
    mean = np.linspace(-3, 3, 101)
    for e in (0.0, 0.4, 0.9):
        nu = alpha_dra.true_anomaly(mean, e)
        angle = 2 * np.arctan(np.sqrt((1 - e) / (1 + e)) * np.tan(nu / 2))
        assert np.allclose(angle - e * np.sin(angle), mean, atol=1e-10)


def test_the_orbit_and_the_scatter_are_recovered_without_being_told(alpha_dra, capsys):
    visits, zero = observed(alpha_dra)
    kept, shape, jitter = alpha_dra.solve(visits)
    assert len(kept.rv) == 60
    # Errors of about 0.1 d, 0.01 and 0.25 km/s: four of them.
    assert shape[0] == pytest.approx(PERIOD, abs=0.4)
    assert shape[2] == pytest.approx(ECCENTRICITY, abs=0.04)
    assert jitter == pytest.approx(1.0, abs=0.3)
    alpha_dra.report(kept, shape, jitter)
    said = capsys.readouterr().out
    amplitude = float(said.split("K ")[1].split()[0])
    assert amplitude == pytest.approx(AMPLITUDE, abs=1.0)
    lines = {line.split()[0]: line.split() for line in said.splitlines()}
    offset = np.array([float(lines[f"o{i}"][3]) for i in range(8)])
    counts = np.bincount(kept.observatory)
    wanted = zero - np.average(zero, weights=counts)
    # Seven or eight visits an observatory: 0.4 km/s.
    assert np.abs(offset - wanted).max() < 1.6


def test_a_wild_visit_is_left_out_and_named(alpha_dra, capsys):
    visits, _ = observed(alpha_dra)
    visits.rv[7] += 60
    kept, shape, _ = alpha_dra.solve(visits)
    assert len(kept.rv) == 59
    assert f"{visits.time[7]:.2f}" in capsys.readouterr().out
    assert shape[0] == pytest.approx(PERIOD, abs=0.4)

import numpy as np

from steadystar.data.air import air_to_vacuum


def test_the_sodium_lines_are_where_they_were_measured():
    # D2 and D1 in air and in vacuum (Steck 2003, tables 3 and 4); his air is not quite
    # standard air, which makes a few 1e-4 A.
    np.testing.assert_allclose(
        air_to_vacuum([5889.950954, 5895.924237]),
        [5891.583264, 5897.558147],
        atol=5e-4,
    )


def test_the_iteration_ends_where_the_index_belongs_to_the_vacuum_wavelength():
    air = np.linspace(2000.0, 25000.0, 200)
    vacuum = air_to_vacuum(air)
    s = (1e4 / vacuum) ** 2
    index = 1 + 0.05792105 / (238.0185 - s) + 0.00167917 / (57.362 - s)
    np.testing.assert_allclose(vacuum / index, air, rtol=1e-11)

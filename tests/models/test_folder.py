import numpy as np
import pytest
from astropy.io import fits

from steadystar.data.constants import C_KMS
from steadystar.models.broadening import broaden
from steadystar.models.folder import TemplateFolder, upper_envelope
from steadystar.models.library import ModelsNotFound, bundled

WAVE = np.linspace(4990.0, 5310.0, 3201)


def spectrum(center, slope=0.0):
    continuum = 1e5 * (1 + slope * (WAVE - 5150) / 100)
    return continuum * (
        1 - 0.5 * np.exp(-0.5 * ((WAVE - center) / 0.3) ** 2)
    ), continuum


def write_table(path, flux, **header):
    table = fits.BinTableHDU.from_columns(
        [fits.Column("wave", "D", array=WAVE), fits.Column("flux", "D", array=flux)]
    )
    table.header.update(header)
    table.writeto(path)


def test_labels_come_from_headers_and_names_and_the_nearest_model_is_taken(tmp_path):
    write_table(tmp_path / "a.fits", spectrum(5100)[0], TEFF=5000, LOGG=4.5, FEH=0.0)
    name = "X_FEH-0.50_AFE+0.00_TEFF+6000_LOGG+4.00.fits"
    write_table(tmp_path / name, spectrum(5200)[0])
    image = fits.PrimaryHDU(spectrum(5250)[0])
    image.header.update(CRVAL1=4990.0, CDELT1=0.1, CRPIX1=1.0)
    image.writeto(tmp_path / "lte07000-4.50-1.0.invented.fits")
    fits.PrimaryHDU(np.zeros(3)).writeto(tmp_path / "no-labels.fits")

    models = TemplateFolder.open(tmp_path, 5000.0, 5300.0, air=False)
    assert models.domain.teff == (5000.0, 7000.0)
    for labels, center in [
        ([5200.0, 4.4, -0.1], 5100),
        ([6100.0, 4.2, -0.4], 5200),
        ([6900.0, 4.5, -0.9], 5250),
    ]:
        found = models(labels)
        assert models.wave[np.argmin(found.flux)] == pytest.approx(center, abs=0.1)
    batch = models(np.array([(5200.0, 4.4, -0.1), (6900.0, 4.5, -0.9)]))
    assert batch.flux.shape == (2, len(models.wave))


def test_wavelengths_of_phoenix_lie_in_a_file_of_their_own(tmp_path):
    fits.PrimaryHDU(spectrum(5100)[0]).writeto(tmp_path / "lte05000-4.50-0.0.A.fits")
    fits.PrimaryHDU(WAVE).writeto(tmp_path / "WAVE_PHOENIX.fits")
    models = TemplateFolder.open(tmp_path, 5000.0, 5300.0, air=False)
    assert models.labels.tolist() == [[5000.0, 4.5, -0.0]]


def test_a_folder_without_models_says_what_is_missing(tmp_path):
    write_table(tmp_path / "a.fits", spectrum(5100)[0], TEFF=5000, LOGG=4.5, FEH=0.0)
    with pytest.raises(ModelsNotFound, match="None of the 1 FITS files"):
        TemplateFolder.open(tmp_path, 6000.0, 7000.0, air=False)


def test_labels_without_a_spectrum_are_an_error(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "TEFF5000_LOGG4_FEH0.fits")
    with pytest.raises(ValueError, match="holds no spectrum"):
        TemplateFolder.open(tmp_path, 5000.0, 5300.0, air=False)


def test_labels_outside_the_folder_are_refused(tmp_path):
    write_table(tmp_path / "a.fits", spectrum(5100)[0], TEFF=5000, LOGG=4.5, FEH=0.0)
    models = TemplateFolder.open(tmp_path, 5000.0, 5300.0, air=False)
    with pytest.raises(ValueError, match="outside the templates"):
        models([5001.0, 4.5, 0.0])


@pytest.mark.parametrize("slope", [-0.1, 0.0, 0.1])
def test_the_envelope_is_the_continuum_of_a_spectrum_with_lines(slope):
    flux, continuum = spectrum(5150, slope)
    inner = (WAVE > 5060) & (WAVE < 5240)
    # The 98th percentile of 100 A with a slope of 10% of the middle lies 5% above it,
    # which is up to 5.5% of a continuum of 0.91.
    np.testing.assert_allclose(
        upper_envelope(WAVE, flux)[inner], continuum[inner], rtol=0.055
    )


def test_two_codes_agree_on_the_sun(real_data):
    """A synthetic Sun of another code, in air: same lines, same place."""
    sun = TemplateFolder.open(real_data / "templates", 4990.0, 5310.0, air=True)
    ours = bundled("lamost-mrs-blue")
    pixels = np.exp(np.arange(np.log(5000.0), np.log(5300.0), 7.0 / C_KMS))
    labels = [5750.0, 4.5, 0.0]

    def seen(models, rv):
        flux = broaden(
            models.wave * (1 + rv / C_KMS),
            models(labels).flux,
            pixels,
            resolution=7500.0,
        )
        return flux / np.median(flux)

    target = seen(sun, 0.0)
    trial = np.arange(-3.0, 3.01, 0.25)
    misfit = np.array([np.sum((seen(ours, rv) - target) ** 2) for rv in trial])
    vertex = -np.polyfit(trial, misfit, 2)[1] / np.polyfit(trial, misfit, 2)[0] / 2
    # Air for vacuum would be 83 km/s; line lists differ by less than a km/s.
    assert abs(vertex) < 1.0
    correlation = np.corrcoef(seen(ours, vertex), target)[0, 1]
    assert correlation > 0.95

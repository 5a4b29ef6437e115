import warnings
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from astropy.io import fits

from steadystar.survey import registry
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.registry import Reader, formats, read, readers

from . import makers
from .test_observation import assert_sound


class Stub:
    """A reader of another package, for files that begin with FOURMOST."""

    name = "fourmost"
    description = "spectra that nobody has yet"

    def matches(self, path):
        return path.read_bytes().startswith(b"FOURMOST")

    def read(self, path, options):
        wave = np.linspace(5000.0, 5100.0, 50)
        facts = {"visit_id": "4", "star_id": options.star_id or None, "path": str(path)}
        return observe([Recorded(facts, wave, wave, wave)], "barycenter")


class Picky(Stub):
    def read(self, path, options):
        raise UnreadableFile(path, "it is too dark", "Wait for the day.")


class Broken(Stub):
    def read(self, path, options):
        raise KeyboardHandle


class KeyboardHandle(Exception):
    pass


class Lying(Stub):
    def read(self, path, options):
        return {"flux": [1, 2, 3]}


class Nosy(Stub):
    name = "nosy"

    def matches(self, path):
        raise RuntimeError("I fell over")


class Taken(Stub):
    name = "lamost"


class Half:
    name = "half"


def explode():
    raise ImportError("no module named telescope")


@pytest.fixture
def plugins(monkeypatch):
    """Install entry points: a function of names in this module."""

    def install(*names):
        points = [
            EntryPoint(n.lower(), f"{__name__}:{n}", registry.GROUP) for n in names
        ]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        registry._plugins.cache_clear()

    # Importing this module by name would make a second one: hand out this one.
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.attr])
    yield install
    registry._plugins.cache_clear()


@pytest.fixture
def fourmost(tmp_path):
    path = tmp_path / "a.4most"
    path.write_bytes(b"FOURMOST and more")
    return path


def test_every_reader_is_a_reader_with_a_name_of_its_own():
    names = [reader.name for reader in readers()]
    assert len(set(names)) == len(names)
    assert names == ["shard", "lamost", "apogee", "fits", "text", "specutils"]
    assert all(isinstance(reader, Reader) for reader in readers())
    table = formats()
    assert table["name"].to_list() == names
    assert (table["problem"] == "").all()


def test_a_plug_in_reads_its_files_before_the_general_readers(plugins, fourmost):
    plugins("Stub")
    names = [reader.name for reader in readers()]
    assert names.index("lamost") < names.index("fourmost") < names.index("fits")
    observation = read(fourmost, ReadOptions(star_id="x"))
    assert_sound(observation)
    assert observation.visits["star_id"][0] == "x"


def test_a_plug_in_may_refuse_a_file(plugins, fourmost):
    plugins("Picky")
    with pytest.raises(
        UnreadableFile, match=r"too dark\. Wait for the day\. Tried: .*"
    ):
        read(fourmost)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Broken", "the reader fourmost failed .KeyboardHandle"),
        ("Lying", "returned dict instead of an observation"),
        ("Nosy", "the reader nosy failed .RuntimeError: I fell over"),
    ],
)
def test_a_plug_in_that_fails_is_reported_not_raised(plugins, fourmost, name, reason):
    plugins(name)
    with pytest.raises(UnreadableFile, match=reason):
        read(fourmost)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("explode", "ImportError: no module named telescope"),
        ("Half", "lacks name, description, matches or read|no attribute"),
        ("Taken", "another reader of the name lamost"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_listed_with_the_reason(
    plugins, tmp_path, name, problem, caplog
):
    plugins(name)
    (row,) = formats().filter(formats()["problem"] != "").rows(named=True)
    assert (
        problem.split("|")[0] in row["problem"]
        or problem.split("|")[1] in row["problem"]
    )
    assert "is not used" in caplog.text
    # The others go on.
    assert len(read(makers.lamost_mrs(tmp_path))) == 6


def test_when_nothing_matches_the_error_lists_what_was_tried(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(UnreadableFile) as caught:
        read(path)
    error = caught.value
    assert error.reason == "no reader recognizes it; it looks like a PNG image"
    assert [sentence.split()[0] for sentence in error.tried] == [
        reader.name for reader in readers()
    ]
    assert "lamost (it reads LAMOST medium-" in str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it looks empty"),
        (b"BZh9", "it looks compressed with bzip2"),
        (b"<html>Not found</html>", "like a web page"),
        (b"\x1f\x8b\x08", "gzip stream is damaged"),
    ],
)
def test_what_a_file_looks_like_is_said(tmp_path, content, reason):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason):
        read(path)


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableFile, match="No such file"):
        read(tmp_path / "none.fits")
    with pytest.raises(UnreadableFile, match="directory"):
        read(tmp_path)


def test_a_reader_can_be_named(tmp_path):
    path = makers.image(tmp_path)
    assert read(path, ReadOptions(reader="fits")).visits["survey"][0] == "fits"
    with pytest.raises(UnreadableFile):
        read(path, ReadOptions(reader="shard"))


def test_a_wrong_name_of_a_reader_is_a_wrong_call(tmp_path):
    with pytest.raises(
        ValueError, match=r"no reader 'lamots'. Did you mean 'lamost'\?"
    ):
        read(makers.image(tmp_path), ReadOptions(reader="lamots"))


def test_a_broken_plug_in_that_is_named_says_why(plugins, tmp_path):
    plugins("explode")
    with pytest.raises(ValueError, match="cannot be used: ImportError"):
        read(makers.image(tmp_path), ReadOptions(reader="explode"))


def sdss(folder):
    """An image of five rows, as SDSS wrote them until 2008: only specutils knows it."""
    flux, _ = makers.spectrum(1)
    rows = np.array([flux, flux, np.full_like(flux, 5.0), 0 * flux, 0 * flux])
    unit = fits.PrimaryHDU(rows.astype(np.float32))
    cards = {"TELESCOP": "SDSS 2.5-M", "FIBERID": 7, "COEFF0": 3.58, "COEFF1": 1e-4}
    cards |= {"CRVAL1": 3.58, "CD1_1": 1e-4, "CRPIX1": 1, "BUNIT": "erg/cm/s/Ang"}
    cards |= {"CTYPE1": "LINEAR", "RA": 10.0, "DEC": 20.0}
    unit.header.update(cards)
    return makers.write(fits.HDUList([unit]), folder / "spSpec-51999-0327-007.fit")


def test_what_specutils_knows_is_read(tmp_path):
    (tmp_path / "other").mkdir()
    observation = read(sdss(tmp_path))
    assert_sound(observation)
    assert observation.visits["survey"][0] == "specutils"
    assert observation.visits["n_good"][0] == makers.PIXELS
    from specutils import Spectrum

    # What specutils says, right or wrong: its wavelengths here are off by one pixel.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Spectrum.read(sdss(tmp_path / "other")).spectral_axis.to_value("AA")
    np.testing.assert_allclose(observation.spectra.wave_2d[0], expected, rtol=1e-12)
    np.testing.assert_allclose(observation.spectra.ivar[0], 1 / 25, rtol=1e-6)


def test_what_specutils_does_not_know_is_unreadable(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((3, 4, 5))).writeto(path)
    with pytest.raises(UnreadableFile, match="specutils cannot read it"):
        read(path)


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"WCSAXES": 2**31 - 1}, "WCSAXES is 2147483647"),
        ({"A_ORDER": 10**6}, "A_ORDER is 1000000"),
    ],
)
def test_a_header_that_asks_for_all_memory_is_not_passed_on(tmp_path, cards, reason):
    path = tmp_path / "a.fits"
    unit = fits.PrimaryHDU(np.zeros((3, 4, 5)))
    unit.header.update(cards)
    unit.writeto(path, output_verify="ignore")
    with pytest.raises(UnreadableFile, match=reason):
        read(path)


@pytest.mark.parametrize("columns", [999, 2**31 - 1])
def test_a_table_that_claims_too_many_columns_is_not_passed_on(tmp_path, columns):
    path = makers.table(tmp_path, {"A": np.arange(50.0), "B": np.arange(50.0)})
    content = path.read_bytes()
    card = f"TFIELDS = {columns:>20}".ljust(80).encode()
    at = content.index(b"TFIELDS =")
    path.write_bytes(content[:at] + card + content[at + 80 :])
    with pytest.raises(UnreadableFile, match=rf"TFIELDS is {columns}|format of column"):
        read(path)


def test_columns_of_variable_length_and_compressed_images_are_not_passed_on(tmp_path):
    column = fits.Column("A", "PE()", array=[np.ones(3, "f4"), np.ones(5, "f4")])
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])])
    with pytest.raises(UnreadableFile, match="variable length"):
        read(makers.write(hdus, tmp_path / "a.fits"))
    image = fits.CompImageHDU(np.zeros((20, 20), np.int16))
    hdus = fits.HDUList([fits.PrimaryHDU(), image])
    with pytest.raises(UnreadableFile, match="compressed image"):
        read(makers.write(hdus, tmp_path / "b.fits"))


def test_a_reader_cannot_change_what_numpy_does_with_overflow(tmp_path):
    before = np.geterr()
    read(makers.lamost_mrs(tmp_path))
    assert np.geterr() == before


def test_observations_are_what_readers_return(tmp_path):
    for path in (
        makers.lamost_mrs(tmp_path),
        makers.csv(tmp_path),
        makers.shard(tmp_path),
    ):
        assert isinstance(read(path), Observation)

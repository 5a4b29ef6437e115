import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystar.survey.fitsfile import DamagedFits, parse

from . import makers

CARD = 80


def as_bytes(*units) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(units)).writeto(stream, output_verify="silentfix")
    return stream.getvalue()


def with_card(content: bytes, key: str, value: str, which: int = 0) -> bytes:
    """Overwrite the value of a card."""
    at = [
        i
        for i in range(0, len(content), CARD)
        if content[i : i + 8] == key.encode().ljust(8)
    ][which]
    card = f"{key:8}= {value:>20}".ljust(CARD).encode()
    return content[:at] + card + content[at + CARD :]


def assert_like_astropy(content: bytes) -> None:
    """Two parsers, one file: the same headers, columns and images."""
    units, ending = parse(content)
    assert ending == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content)) as hdus:
            assert len(units) == len(hdus)
            for unit, hdu in zip(units, hdus, strict=True):
                _same_header(unit, hdu)
                if unit.is_table:
                    for name in unit.columns:
                        expected = np.asarray(hdu.data[name])
                        np.testing.assert_array_equal(unit.column(name), expected)
                elif hdu.data is not None:
                    np.testing.assert_array_equal(unit.image(), hdu.data)


def _same_header(unit, hdu) -> None:
    raw = hdu.header.tostring()
    for key in set(hdu.header) - {"", "COMMENT", "HISTORY"}:
        value = hdu.header[key]
        if isinstance(value, bool | int | float | str) and f"{key[:8]:8}" in raw:
            assert unit.header[key] == value, key


@pytest.mark.parametrize("layout", ["old", "new"])
def test_lamost_layouts_read_as_astropy_reads_them(tmp_path, layout):
    path = makers.lamost_mrs(tmp_path, layout=layout)
    assert_like_astropy(makers.gunzip(path))


def test_images_read_as_astropy_reads_them(tmp_path):
    assert_like_astropy(makers.image(tmp_path).read_bytes())
    assert_like_astropy(makers.lamost_lrs(tmp_path).read_bytes())


@pytest.mark.parametrize("folder", ["lamost_mrs", "lamost_lrs", "alphadra"])
def test_real_files_read_as_astropy_reads_them(real_data, folder):
    files = sorted((real_data / folder).iterdir())[:6]
    assert files
    for path in files:
        content = path.read_bytes()
        assert_like_astropy(
            makers.gunzip(path) if content[:2] == b"\x1f\x8b" else content
        )


def _astropy_reads(text: str) -> bool:
    """Whether astropy reads its own card: 8.0 takes ``'/`` for a quote and a comment."""
    header = fits.Header([("Q", text)])
    return fits.Header.fromstring(header.tostring())["Q"] == text


def test_a_slash_after_a_quote_is_no_comment():
    unit = fits.PrimaryHDU()
    unit.header["Q"] = "'/ 5' 3''"
    (parsed,), _ = parse(as_bytes(unit))
    assert parsed.header["Q"] == "'/ 5' 3''"


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        # No keyword with a meaning of its own begins with Q.
        st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", max_size=7).map("Q{}".format),
        st.one_of(
            st.booleans(),
            st.integers(-(10**17), 10**17),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
            .map(str.rstrip)
            .filter(_astropy_reads),
        ),
        max_size=6,
    )
)
def test_any_header_that_astropy_writes_reads_as_astropy_reads_it(cards):
    unit = fits.PrimaryHDU()
    for key, value in cards.items():
        unit.header[key] = value
    assert_like_astropy(as_bytes(unit))


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("L", np.array([True, False, True])),
        ("B", np.array([0, 255, 7], np.uint8)),
        ("J", np.array([-5, 2**31 - 1, 0], np.int32)),
        ("K", np.array([-5, 2**62, 0])),
        ("D", np.array([1.5, -2.5, np.nan])),
        ("3E", np.arange(9, dtype=np.float32).reshape(3, 3)),
        ("2D", np.arange(6.0).reshape(3, 2)),
    ],
)
def test_every_kind_of_column_reads_as_astropy_reads_it(form, values):
    columns = [
        fits.Column("BEFORE", "5A", array=["a", "bb", "ccc"]),
        fits.Column("X", form, array=values),
        fits.Column("AFTER", "I", array=[1, 2, 3]),
    ]
    content = as_bytes(fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns))
    unit = parse(content)[0][1]
    np.testing.assert_array_equal(unit.column("X"), values)
    np.testing.assert_array_equal(unit.column("AFTER"), [1, 2, 3])
    assert unit.column("BEFORE").tolist() == [b"a", b"bb", b"ccc"]


def with_new_cards(content: bytes, unit: int, **cards: float) -> bytes:
    """Put cards before the END of a unit's header, which has room for them."""
    end = -1
    for _ in range(unit + 1):
        end = content.index(b"END".ljust(CARD), end + 1)
    new = b"".join(f"{k:8}= {v:>20}".ljust(CARD).encode() for k, v in cards.items())
    after = end + CARD + len(new)
    assert not content[end + CARD : after].strip()
    return content[:end] + new + content[end : end + CARD] + content[after:]


def test_scaled_columns_come_out_unscaled():
    column = fits.Column("X", "I", array=np.array([1, 3], np.int16))
    content = as_bytes(fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column]))
    content = with_new_cards(content, 1, TSCAL1=0.5, TZERO1=10)
    assert_like_astropy(content)
    np.testing.assert_array_equal(parse(content)[0][1].column("X"), [10.5, 11.5])


def test_scaled_images_come_out_unscaled_and_blanks_missing():
    content = as_bytes(fits.PrimaryHDU(np.array([1, 2, -9], np.int16)))
    content = with_new_cards(content, 0, BSCALE=2.5, BZERO=1.0, BLANK=-9)
    assert_like_astropy(content)
    np.testing.assert_array_equal(parse(content)[0][0].image(), [3.5, 6.0, np.nan])


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("NAXIS", "-1", "NAXIS is -1"),
        ("NAXIS", "2147483647", "NAXIS is 2147483647"),
        ("NAXIS1", "9223372036854775807", "bytes are missing"),
        ("NAXIS2", "-5", "negative length"),
        ("NAXIS2", "'many'", "NAXIS2 is 'many'"),
        ("NAXIS2", "1E400", "NAXIS2 is inf"),
        ("BITPIX", "7", "BITPIX is 7"),
        ("PCOUNT", "999999999999999999", "bytes are missing"),
        ("PCOUNT", "-4", "PCOUNT -4"),
        ("GCOUNT", "0", "GCOUNT is 0"),
        ("GCOUNT", "T", "GCOUNT is True"),
    ],
)
def test_an_absurd_size_ends_the_file_with_a_reason(tmp_path, key, value, reason):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    # The second card of that name is the first table's (NAXIS1: the first).
    which = 0 if key in ("NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT") else 1
    units, ending = parse(with_card(content, key, value, which))
    assert [unit.name for unit in units] == ["Information"]
    assert reason in ending


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("TFIELDS", "1000000", "claims 1000000 columns"),
        ("TFIELDS", "3", "columns take"),
        ("TFORM1", "'999999999E'", "columns take"),
        ("TFORM1", "'?'", "format of column 1"),
        ("TTYPE1", "'GONE'", "no column FLUX"),
    ],
)
def test_a_table_that_does_not_add_up_is_refused(tmp_path, key, value, reason):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    unit = parse(with_card(content, key, value))[0][1]
    with pytest.raises(DamagedFits, match=reason):
        unit.column("FLUX")


def test_a_table_without_rows_is_refused(tmp_path):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    unit = parse(content)[0][1]
    # A damaged count: no byte of data, and columns that begin beyond it.
    header = dict(unit.header) | {"NAXIS2": 0}
    empty = type(unit)(unit.name, header, unit.data[:0])
    with pytest.raises(DamagedFits, match="it claims 0 rows"):
        empty.column("IVAR")


def test_more_rows_than_bytes_are_refused(tmp_path):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    # Three axes, the last of length zero: no data, though 400 rows are claimed.
    unit = parse(content)[0][1]
    header = dict(unit.header) | {"NAXIS": 3, "NAXIS3": 0}
    with pytest.raises(DamagedFits, match="fewer than its 400 rows"):
        type(unit)(unit.name, header, memoryview(b"")).column("FLUX")


def test_a_file_cut_anywhere_gives_what_came_before(tmp_path):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    whole = parse(content)[0]
    for cut in range(0, len(content), 1777):
        units, ending = parse(content[:cut])
        # A file cut between two extensions looks whole.
        assert ending or cut % 2880 == 0
        for unit, expected in zip(units, whole, strict=False):
            assert bytes(unit.data) == bytes(expected.data)


def test_an_empty_array_of_a_thousand_million_rows_is_refused(tmp_path):
    content = makers.gunzip(makers.lamost_mrs(tmp_path))
    content = with_card(with_card(content, "NAXIS1", "0"), "NAXIS2", "1000000000")
    units, ending = parse(content)
    assert len(units) == 1
    assert "empty array of 1000000000 rows" in ending


def test_padding_at_the_end_is_no_damage_and_garbage_is():
    content = as_bytes(fits.PrimaryHDU())
    assert parse(content + bytes(2880))[1] == ""
    assert "begins no extension" in parse(content + bytes(2880) + b"x" * 2880)[1]
    assert "does not begin with XTENSION" in parse(content + b"x" * 2880)[1]
    assert parse(b"") == ([], "it is empty")


def test_endless_extensions_end():
    image = as_bytes(fits.PrimaryHDU(), fits.ImageHDU())
    content = image + image[2880:] * 2000
    units, ending = parse(content)
    assert len(units) == 1000
    assert "more than 1000 extensions" in ending

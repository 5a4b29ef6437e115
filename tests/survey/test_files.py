import gzip
import os
import zlib

import pytest

from steadystar.survey.files import describe_content, load, peek
from steadystar.survey.observation import UnreadableFile

CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a"])
def test_compression_shows_in_the_content_not_in_the_name(tmp_path, name):
    path = tmp_path / name
    for stored in (CONTENT, gzip.compress(CONTENT)):
        path.write_bytes(stored)
        assert load(path, 10**6) == CONTENT
        assert peek(path, 100) == CONTENT[:100]


def test_a_gzip_of_several_parts_is_one_file(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT) + gzip.compress(b"end") + bytes(10))
    assert load(path, 10**6) == CONTENT + b"end"


def test_a_gzip_of_endless_parts_is_refused(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x") * 100)
    with pytest.raises(UnreadableFile, match="more than 64 parts"):
        load(path, 10**6)


@pytest.mark.parametrize("cut", [1, 8, 9, 100])
def test_a_truncated_gzip_is_refused_even_where_only_the_checksum_is_gone(
    tmp_path, cut
):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT)[:-cut])
    with pytest.raises(UnreadableFile, match="gzip stream is damaged"):
        load(path, 10**6)


def test_a_flipped_bit_in_a_gzip_is_found_by_its_checksum(tmp_path):
    stored = bytearray(gzip.compress(os.urandom(5000)))
    stored[2000] ^= 1
    path = tmp_path / "a.gz"
    path.write_bytes(bytes(stored))
    with pytest.raises(UnreadableFile, match="gzip stream is damaged"):
        load(path, 10**6)


def test_a_bomb_stops_at_the_limit(tmp_path):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    stored = b"".join(squeeze.compress(bytes(1_000_000)) for _ in range(200))
    path = tmp_path / "bomb.gz"
    path.write_bytes(stored + squeeze.flush())
    assert path.stat().st_size < 250_000
    with pytest.raises(UnreadableFile, match="more than 1 MB"):
        load(path, 1_000_000)
    assert len(peek(path, 500)) == 500


def test_a_large_file_is_refused_without_being_read_whole(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        # A hole: takes no space on the disk, and would take all of memory.
        file.truncate(10**12)
    with pytest.raises(UnreadableFile, match="more than 1 MB"):
        load(path, 1_000_000)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableFile, match="pipe"):
        load(tmp_path / "pipe", 100)
    with pytest.raises(UnreadableFile, match="directory"):
        load(tmp_path, 100)
    with pytest.raises(UnreadableFile, match="No such file"):
        load(tmp_path / "none", 100)
    with pytest.raises(UnreadableFile, match="null byte"):
        load("nul\0name", 100)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"SIMPLE  =   T", "a FITS file"),
        (b"PAR1", "a Parquet file"),
        (b"BZh91", "compressed with bzip2"),
        (b"\n <html>", "a web page or XML"),
        (b"wave,flux", "text"),
        (b"\x01\x00\x02", "binary, of unknown kind"),
    ],
)
def test_content_is_described_in_words(head, kind):
    assert describe_content(head) == kind

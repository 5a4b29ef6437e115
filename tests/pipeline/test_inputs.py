import os

import pytest

from steadystar.pipeline.inputs import InputError, find_files, printable


def names(found):
    return [file.name for file in found.files]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.fits", "sub/a.fits", "sub/deep/README.txt", ".hidden", ".git/x"):
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "my"


def test_folders_are_searched_to_any_depth_in_order(folder):
    found = find_files([folder])
    assert names(found) == ["my/b.fits", "my/sub/a.fits", "my/sub/deep/README.txt"]
    assert found.hidden == 2
    assert found.files[0].size == len("b.fits")


def test_a_file_has_the_same_name_alone_as_in_its_folder(folder, monkeypatch):
    assert names(find_files([folder / "b.fits"])) == ["my/b.fits"]
    monkeypatch.chdir(folder)
    assert names(find_files(["b.fits"])) == ["my/b.fits"]
    assert names(find_files(["."])) == names(find_files([folder]))
    assert names(find_files(["sub/.."])) == names(find_files([folder]))


def test_a_file_that_is_named_twice_is_there_once(folder):
    found = find_files([folder / "sub" / "a.fits", folder, folder / "sub"])
    assert names(found) == names(find_files([folder]))


def test_two_files_never_share_a_name(tmp_path):
    for parent in ("one", "two"):
        (tmp_path / parent / "data").mkdir(parents=True)
        (tmp_path / parent / "data" / "x.fits").write_text(parent)
    found = find_files([tmp_path / "one" / "data", tmp_path / "two" / "data"])
    assert len(set(names(found))) == 2
    assert "data/x.fits" in names(found)


@pytest.mark.parametrize("name", ["", "nothing.fits", "\x1b[31m"])
def test_an_input_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="There is no file") as caught:
        find_files([tmp_path / name / "gone"])
    assert "\x1b" not in str(caught.value)


def test_a_folder_without_files_is_refused_and_says_what_was_passed(tmp_path):
    (tmp_path / ".hidden").touch()
    with pytest.raises(InputError, match="1 hidden ones"):
        find_files([tmp_path])


def test_directories_of_runs_are_passed_over(folder):
    (folder / "out" / "work" / "ledger").mkdir(parents=True)
    (folder / "out" / "velocities.parquet").touch()
    (folder / "new").mkdir()
    (folder / "new" / "run.log").touch()
    found = find_files([folder], folder / "new")
    assert len(found.files) == 3
    assert len(found.run_directories) == 2


def test_what_cannot_be_a_file_is_rejected_and_never_opened(folder):
    (folder / "dangling.fits").symlink_to(folder / "gone")
    (folder / "loop.fits").symlink_to(folder / "loop.fits")
    os.mkfifo(folder / "pipe.fits")
    rejected = {row["path"]: row["reason"] for row in find_files([folder]).rejected}
    assert set(rejected) == {"my/dangling.fits", "my/loop.fits", "my/pipe.fits"}
    assert "leads nowhere" in rejected["my/dangling.fits"]
    assert "neither a file nor a folder" in rejected["my/pipe.fits"]


def test_links_to_folders_are_followed_once(folder):
    (folder / "again").symlink_to(folder)
    (folder / "sub" / "up").symlink_to("..")
    assert len(find_files([folder]).files) == 3


def test_hostile_names_are_escaped_and_stay_apart(tmp_path):
    raw = [
        b"a\xff.fits",
        b"a\xfe.fits",
        b"new\nline",
        b"\x1b[31mred",
        "é<b>.fits".encode(),
    ]
    folder = tmp_path / "x"
    folder.mkdir()
    for name in raw:
        (folder / os.fsdecode(name)).write_bytes(name)
    found = find_files([folder])
    assert len(set(names(found))) == len(raw)
    for name in names(found):
        assert name.isprintable()
        name.encode()
    assert "x/é<b>.fits" in names(found)


def test_printable_text_is_left_as_it_is():
    assert printable("β Lyr <1>") == "β Lyr <1>"
    assert printable("a\tb\x00") == r"a\tb\x00"

"""A folder read in one call holds all that its files hold, and tells what it does not."""

import pytest

from steadystar.survey.folder import read_folder
from steadystar.survey.registry import read

from . import makers


def test_a_folder_is_its_files_in_order_of_names_matched_into_stars(tmp_path):
    first, second = tmp_path / "night1", tmp_path / "night2" / "deep"
    for number, folder in enumerate((first, second)):
        folder.mkdir(parents=True)
        makers.lamost_mrs(folder, primary={"LMJD": 58408 + number})
    seen = read_folder(tmp_path)
    alone = [read(next(folder.iterdir())).visits for folder in (first, second)]
    assert seen.visits["visit_id"].to_list() == [
        name for visits in alone for name in visits["visit_id"]
    ]
    assert len(seen.spectra) == len(seen.visits) == 2 * len(alone[0])
    assert seen.visits["star_id"].n_unique() == 1
    assert seen.visits["star_id"].null_count() == 0


def test_what_cannot_be_read_is_told_and_hidden_files_are_passed_over(tmp_path):
    makers.lamost_mrs(tmp_path)
    (tmp_path / "README").write_text("notes of the night")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "junk").write_text("junk")
    seen = read_folder(tmp_path)
    assert [path.rpartition("/")[2] for path in seen.rejected["path"]] == ["README"]
    assert seen.rejected["reason"][0]


def test_a_folder_without_spectra_names_the_first_reason(tmp_path):
    (tmp_path / "README").write_text("notes of the night")
    with pytest.raises(
        ValueError, match=r"None of the 1 files .*README cannot be read"
    ):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        read_folder(tmp_path / "README")


def test_surveys_in_different_frames_are_not_mixed(tmp_path):
    makers.lamost_mrs(tmp_path)
    makers.csv(tmp_path)
    with pytest.raises(ValueError, match="one survey at a time"):
        read_folder(tmp_path)

import dataclasses
import tomllib
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from steadystar.pipeline import config
from steadystar.pipeline.config import Configuration, ConfigurationError


@dataclasses.dataclass(frozen=True)
class Window:
    """Where to measure."""

    low: Annotated[float, "Blue end, Angstrom."] = 5000.0
    high: Annotated[float | None, "Red end, Angstrom."] = None


@dataclasses.dataclass(frozen=True)
class Measure:
    """How to measure."""

    method: Annotated[str, "Name of the method."] = 'jo"int'
    by: Annotated[tuple[tuple[str, ...], ...], "Families."] = (("a", "b"), ("c",))
    window: Window = Window()


class Nested(Configuration):
    model_config = ConfigDict(frozen=True, extra="forbid")
    measure: Measure = Measure()


def test_the_default_file_reads_back_as_the_default():
    for kind in (Configuration, Nested):
        assert kind.from_values(tomllib.loads(kind().to_toml())) == kind()


def test_every_option_is_documented_in_the_default_file():
    text = " ".join(Configuration().to_toml().replace("\n# ", " ").split())
    for name, section in Configuration.model_fields.items():
        assert f"[{name}]" in text
        for option, sentence, kind in config._options(section.annotation):
            if not dataclasses.is_dataclass(kind):
                assert sentence, f"{name}.{option} has no sentence"
                assert " ".join(sentence.split()) in text


def test_an_option_without_a_value_is_shown_and_not_set():
    assert "# high =    (not set)" in Nested().to_toml()
    assert "[measure.window]" in Nested().to_toml()


@given(st.text())
def test_any_text_survives_the_file(text):
    text = text.encode("utf-8", "replace").decode()
    written = config._toml(text)
    assert tomllib.loads(f"a = {written}")["a"] == text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"runn": {}}, ["no section runn", "Did you mean run?"]),
        ({"zzzzzz": {}}, ["no section zzzzzz", "There are: read, match"]),
        ({"run": {"shard": 1}}, ["no option run.shard", "Did you mean run.shards?"]),
        (
            {"measure": {"window": {"lo": 1}}},
            ["no option measure.window.lo", "measure.window.low"],
        ),
        ({"run": 3}, ["run is a section", "[run]"]),
        ({"run": {"shards": "3"}}, ["run.shards = '3'", "integer", "hash of their"]),
        ({"run": {"shards": True}}, ["run.shards = True", "integer"]),
        ({"run": {"shards": -2}}, ["[run] shards = -2: give 0"]),
        ({"match": {"radius_arcsec": float("inf")}}, ["no matching radius"]),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_sentence(values, words):
    with pytest.raises(ConfigurationError) as caught:
        Nested.from_values(values, source="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_files_that_are_no_configuration_are_named(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("[run\n")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.toml", tmp_path, bad, binary):
        with pytest.raises(ConfigurationError) as caught:
            Configuration.load(path)
        assert str(path) in str(caught.value)
        assert "--write-config" in str(caught.value)


def test_a_file_changes_what_it_names_and_only_that(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[match]\nradius_arcsec = 2\n")
    loaded = Configuration.load(path)
    assert loaded.match.radius_arcsec == 2.0
    assert loaded.run == Configuration().run


def test_a_section_hash_depends_on_that_section_only():
    one = Configuration()
    other = Configuration.from_values({"match": {"radius_arcsec": 1.0}})
    assert one.section_hash("run") == other.section_hash("run")
    assert one.section_hash("match") != other.section_hash("match")
    assert one.section_hash("run", "match") != other.section_hash("run", "match")
    assert one.hash != other.hash
    assert one.hash == Configuration.from_values({"run": {}}).hash


def test_a_configuration_cannot_be_changed():
    assert issubclass(Configuration, BaseModel)
    with pytest.raises(ValueError, match="frozen"):
        Configuration().run = config.RunOptions(shards=4)  # pyright: ignore

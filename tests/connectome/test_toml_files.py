"""TOML that would keep a reader busy for ever, or end it, is refused at once; ordinary TOML is read as it is."""

import time

import pytest

from connectofit.builders import ModelSpec
from connectofit.connectome.errors import MissingFileError, SettingError
from connectofit.connectome.toml_files import MAX_DEPTH, parse_toml, read_toml
from connectofit.pipelines.config import read_toml as read_recipe

BOMBS = {
    "arrays": "a = " + "[" * 100_000 + "]" * 100_000,
    "tables in tables": "a = " + "{b = " * 10_000 + "1" + "}" * 10_000,
    "a key of many parts": ".".join("a" * 100_000) + " = 1",
    "a header of many parts": "[" + ".".join("a" * 100_000) + "]",
    "parts in quotes": " . ".join(['"a"', "'b'"] * 1000) + " = 1",
    "a number of many digits": "a = " + "1" * 100_000,
    "an open text": 'a = "' + "x" * 100_000,
    "keys nested by headers": "\n".join(f"[{'.'.join('a' * k)}]" for k in range(1, 40)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_short_time(tmp_path, name):
    (tmp_path / "x.toml").write_text(BOMBS[name])
    for read in (read_toml, read_recipe, ModelSpec.load):
        began = time.perf_counter()
        with pytest.raises(SettingError, match=r"too deeply|more than 32 parts|not valid TOML"):
            read(tmp_path / "x.toml")
        assert time.perf_counter() - began < 5


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "x.toml", "wb") as file:
        file.truncate(20 * 2**20)
    with pytest.raises(SettingError, match="20,971,520 bytes; at most 16,777,216"):
        read_toml(tmp_path / "x.toml")


def test_long_words_and_many_keys_are_fine():
    word = "w" * 1_000_000
    text = f'text = "{word}"\n{word} = 1\n' + "\n".join(f"k{k} = 0.5" for k in range(20_000))
    began = time.perf_counter()
    found = parse_toml(text, "it")
    assert time.perf_counter() - began < 20
    assert (found["text"], found[word], found["k19999"]) == (word, 1, 0.5)


def test_the_deepest_nesting_that_is_allowed_is_read():
    found = parse_toml("a = " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "it")["a"]
    for _ in range(MAX_DEPTH - 2):
        (found,) = found
    assert found == []
    with pytest.raises(SettingError, match="too deeply"):
        parse_toml("a = " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, "it")


def test_files_that_are_no_text_or_not_there_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"no recipe .*nowhere\.toml"):
        read_toml(tmp_path / "nowhere.toml", "recipe")
    with pytest.raises(MissingFileError, match="is a folder"):
        read_toml(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(SettingError, match="not UTF-8"):
        read_toml(tmp_path / "x.toml")

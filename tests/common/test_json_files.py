"""Tests of json_files.py: any file gives its content or an error of one line."""

import pytest

from learned_jpeg.common.json_files import read_json


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_ordinary_content_is_read_as_it_is(tmp_path):
    text = '{"a": [1, -2.5, null, true, "\\u00e4"], "b": {"c": 1e300}}'
    expected = {"a": [1, -2.5, None, True, "ä"], "b": {"c": 1e300}}
    assert read_json(written(tmp_path / "x.json", text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff\xfe{}",
        "[" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "9" * 400,
        "-" + "9" * 5000,
        '{"a": 1e999}',
    ],
    ids=["empty", "cut", "utf16", "arrays", "objects", "400", "5000", "1e999"],
)
def test_odd_content_is_a_value_error_of_one_line(tmp_path, text):
    with pytest.raises(ValueError, match=r"\A.{1,199}\Z"):
        read_json(written(tmp_path / "x.json", text))


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "gone.json")

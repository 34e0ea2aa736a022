"""Tests of codec_compare: what Google's page asks of its files."""

import json
import re

import numpy as np
import pytest

from evaluation import curves
from report import codec_compare
from tests.report import report_data

pytestmark = pytest.mark.slow  # the fixtures that all tests share


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """(folder, curves, what the list names)."""
    folder = tmp_path_factory.mktemp("codec_compare")
    found = curves.read_curves(str(made[0]))
    path = codec_compare.write_batches(str(folder / "out"), found)
    with open(path, encoding="utf-8") as file:
        return folder / "out", found, json.load(file)


def load(folder, name):
    return json.loads((folder / name).read_text())


def names_of(descriptions):
    """Each is an object of one name and its text."""
    assert all(len(description) == 1 for description in descriptions)
    assert all(type(text) is str for d in descriptions for text in d.values())
    return [name for description in descriptions for name in description]


def test_list_names_a_file_for_each_curve(written):
    folder, found, names = written
    assert len(names) == len(found) == 3
    assert all(len(inner) == 1 and (folder / inner[0]).exists() for inner in names)


def test_constants_and_fields_have_as_many_values_as_descriptions(written):
    folder, found, names = written
    for (name,), curve in zip(names, found, strict=True):
        batch = load(folder, name)
        constants = names_of(batch["constant_descriptions"])
        values = dict(zip(constants, batch["constant_values"], strict=True))
        assert values["name"] == curve.label and values["codec"] == curve.name
        assert values["version"] == "pillow 12"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", values["time"])
        fields = names_of(batch["field_descriptions"])
        assert all(len(row) == len(fields) for row in batch["field_values"])


def test_rows_are_the_files_on_the_disk(written):
    folder, found, names = written
    for (name,), curve in zip(names, found, strict=True):
        batch = load(folder, name)
        constants = names_of(batch["constant_descriptions"])
        pattern = batch["constant_values"][constants.index("encoded_path")]
        fields = names_of(batch["field_descriptions"])
        rows = [dict(zip(fields, row, strict=True)) for row in batch["field_values"]]
        assert len(rows) == len(curve.results) * len(report_data.SIZES)
        for row in rows:
            path = folder / pattern.replace("${encoded_name}", row["encoded_name"])
            assert path.stat().st_size == row["encoded_size"]
            size = (row["height"], row["width"])
            assert size == report_data.SIZES[row["original_name"]]


def test_metrics_are_numbers_and_a_column_with_gaps_is_left_out(written):
    folder, found, names = written
    batch = load(folder, names[0][0])
    fields = names_of(batch["field_descriptions"])
    # MS-SSIM is nan for small pictures, Butteraugli was not measured.
    assert fields[-3:] == ["psnr", "lpips", "ssimulacra2"]
    values = np.array([row[-3:] for row in batch["field_values"]])
    wanted = [
        (v["psnr"][i], v["lpips"][i], v["ssimulacra2"][i])
        for v in (point.values for point in found[0].results)
        for i in range(len(report_data.SIZES))
    ]
    np.testing.assert_array_equal(values, wanted)

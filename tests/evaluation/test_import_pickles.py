"""Tests of import_pickles: what becomes of the results of an older program."""

import json
import logging
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from evaluation import curves, evaluator, import_pickles, results
from learned_jpeg.common.errors import UserError

LISTS = [[0.5, 0.25], [20.0, 90.0], [0.1, 0.2], [35.0, 28.5], [0.98, np.nan]]


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A function (content of Q20.pickle) -> status of the import of its folder."""
    folder, images = tmp_path / "_output_PIL", tmp_path / "images"
    folder.mkdir()
    images.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 8)).save(images / name)
    monkeypatch.setattr(sys, "argv", ["import_pickles", str(folder), str(images)])

    def call(content):
        (folder / "Q20.pickle").write_bytes(pickle.dumps(content))
        return import_pickles.main()

    return call


def test_an_imported_pickle_answers_for_its_test_images(call, tmp_path, caplog):
    assert call(tuple(map(tuple, LISTS))) == 0
    folder = tmp_path / "_output_PIL"
    paths = [str(tmp_path / "images" / f"{name}.png") for name in "ab"]
    images = evaluator.TestImages(paths).records
    key = {"checkpoint": None, "settings": {"quality": 20}, "images": images}
    found = results.load(str(folder), "Q20", key)
    assert found.images == ["a.png", "b.png"]
    np.testing.assert_array_equal([*found.values.values()], LISTS)
    assert "Q20.json: imported, nothing shows" in caplog.records[-1].message
    other = {**key, "images": [images[0], {**images[1], "sha256": "0"}]}
    assert results.load(str(folder), "Q20", other) is None
    assert "other test images (b.png)" in caplog.text


def test_an_imported_curve_says_so(call, tmp_path):
    call(LISTS)
    (curve,) = curves.read_curves(str(tmp_path))
    assert (curve.label, curve.points("mse")) == ("JPEG, imported", [(0.375, 55.0)])


def test_a_point_that_has_a_record_is_left_as_it_is(call, tmp_path):
    record = tmp_path / "_output_PIL" / "Q20.json"
    record.write_text("{}")
    assert call("no lists at all") == 0
    assert json.loads(record.read_text()) == {}


class Call:
    """Pickles as a call of a function, as an attacker writes it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(call, tmp_path):
    made = tmp_path / "made"
    with pytest.raises(UserError, match=r"Q20\.pickle: .*posix.mkdir"):
        call([*LISTS[:4], [Call(str(made)), 0.9]])
    assert not made.exists() and not (tmp_path / "_output_PIL" / "Q20.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        LISTS[:4],
        [*LISTS, LISTS[0]],
        [*LISTS[:4], ["x", "y"]],
        [*LISTS[:4], [1e300, 1.0]],
        [*LISTS[:4], LISTS[4][:1]],
        7,
    ],
)
def test_anything_but_five_lists_of_numbers_is_one_line(call, content):
    with pytest.raises(UserError, match=r"Q20\.pickle: ") as caught:
        call(content)
    assert "\n" not in str(caught.value)


def test_other_test_images_than_there_are_values_are_refused(call, tmp_path):
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(UserError, match="2 values of bpp for 1 images"):
        call(LISTS)


def test_evaluate_names_the_import(caplog, tmp_path):
    (tmp_path / "Q20.pickle").write_bytes(pickle.dumps(LISTS))
    with caplog.at_level(logging.INFO), pytest.raises(UserError) as caught:
        results.load(str(tmp_path), "Q20", {"images": []})
    assert "python3 -m evaluation.import_pickles" in str(caught.value)

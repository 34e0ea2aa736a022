"""Tests of results.py: what is stored, what is refused, BD-rates with known answers."""

import contextlib
import csv
import json
import logging
import os
import pickle
import pickletools

import numpy as np
import pytest

from evaluation import results
from learned_jpeg.common.errors import UserError
from tests.evaluation.helpers import (
    IMAGES,
    VALUES,
    lists_of,
    make_key,
    make_results,
    read_point,
)


def save(folder, **changes):
    results.save(folder, "Q20", make_results(**changes), make_key())


def test_means_are_means_of_per_image_values():
    means = make_results().means()
    wanted = {"bpp": 13 / 60, "mse": 55.625, "lpips": 0.175, "psnr": 31.803}
    wanted |= {"ms-ssim": 0.94, "ssimulacra2": 38.625}
    assert list(means) == list(results.MEASURED)
    assert {name: means.pop(name) for name in wanted} == pytest.approx(wanted)
    assert np.isnan([*means.values()]).all()  # were not measured


def test_means_leave_out_images_that_are_too_small_for_a_metric():
    means = make_results(**{"ms-ssim": [np.nan, 0.9]}, lpips=[0.25, np.nan]).means()
    assert means["ms-ssim"] == 0.9
    assert means["lpips"] == 0.25


def test_ms_ssim_of_small_images_only_is_nan_without_a_warning():
    assert np.isnan(make_results(**{"ms-ssim": [np.nan] * 2}).means()["ms-ssim"])


def test_mean_rate_of_a_metric_is_over_the_images_that_have_it():
    point = make_results(**{"ms-ssim": [0.9, np.nan], "psnr": [30.0, np.inf]})
    means = point.means()
    assert results.rate_for(means, "ms-ssim") == 0.1
    assert results.rate_for(means, "psnr") == means["bpp"] == np.mean([0.1, 1 / 3])
    assert results.rate_for(means, "butteraugli") == means["bpp"]  # not measured


def test_images_that_one_codec_has_no_file_of_are_left_out_of_all():
    whole = make_results()
    gap = make_results(**{name: [values[0], np.nan] for name, values in VALUES.items()})
    assert gap.without_file() == ["b, c.png"] and whole.without_file() == []
    assert results.of_common_images([whole, whole]) == [whole, whole]
    for point in results.of_common_images([whole, gap]):
        assert point.images == ["a.png"]
        assert point.values == {name: values[:1] for name, values in VALUES.items()}
    (note,) = results.notes_on_small([("JPEG", whole), ("s", gap), ("s", gap)])
    assert note == "b, c.png: too small for s, left out of all means."


def test_a_name_that_two_images_share_is_refused():
    with pytest.raises(ValueError, match="one name"):
        results.PointResults(["a.png", "a.png"], VALUES)


def test_odd_names_are_kept_as_they_are(tmp_path):
    """A carriage return ends a line for a reader of CSV, unless it is quoted."""
    images = ["c\rr\n.png", "d\udcff\u65e5 \"'|<b>.png"]
    point = results.PointResults(images, VALUES)
    key = make_key(images=[{"name": name} for name in images])
    results.save(str(tmp_path), "Q20", point, key, files=["1.jpg", "2.jpg"])
    assert results.load(str(tmp_path), "Q20", key) == point
    record = results.read_record(str(tmp_path / "Q20"))
    assert record["files"] == ["1.jpg", "2.jpg"]
    assert results.listed([*images, "e\x1b[31m.png", "f.png"]) == (
        "c\\rr\\n.png, d\udcff\u65e5 \"'|<b>.png, e\\x1b[31m.png and 1 more"
    )


def test_lists_of_another_length_than_the_images_are_refused():
    with pytest.raises(ValueError, match="1 values of mse for 2 images"):
        make_results(mse=[1.0])


def test_a_list_that_is_missing_or_unknown_is_refused():
    without_rate = {name: VALUES[name] for name in VALUES if name != "bpp"}
    for values in (without_rate, {**VALUES, "vmaf": [1.0, 2.0]}):
        with pytest.raises(ValueError, match="need bpp and metrics"):
            results.PointResults(IMAGES, values)


def test_from_rows_equals_the_lists():
    columns = zip(*VALUES.values(), strict=True)
    rows = [dict(zip(VALUES, row, strict=True)) for row in columns]
    assert results.PointResults.from_rows(IMAGES, rows) == make_results()


def test_saved_results_load_exactly(tmp_path):
    save(tmp_path)
    assert results.load(tmp_path, "Q20", make_key()) == make_results()


def test_pickle_is_five_plain_lists_for_any_script(tmp_path):
    save(tmp_path, mse=np.array([20.25, 91.0], np.float32))
    data = (tmp_path / "Q20.pickle").read_bytes()
    bpp, mse, lpips, psnr, ms_ssim = pickle.loads(data)
    assert (bpp, mse, lpips) == (VALUES["bpp"], VALUES["mse"], VALUES["lpips"])
    assert (psnr, ms_ssim) == (VALUES["psnr"], VALUES["ms-ssim"])
    # No global at all: the pickle needs neither numpy nor anything else.
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(data)}
    assert not opcodes & {"GLOBAL", "STACK_GLOBAL", "REDUCE"}


def test_csv_has_a_row_per_image_in_full_precision(tmp_path):
    save(tmp_path)
    with open(tmp_path / "Q20.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", *results.PICKLED, "ssimulacra2"]
    assert [row[0] for row in rows] == IMAGES
    columns = list(zip(*(map(float, row[1:]) for row in rows), strict=True))
    wanted = [*lists_of(make_results()), VALUES["ssimulacra2"]]
    assert [list(column) for column in columns] == wanted


def test_json_has_compressai_form_with_the_means(tmp_path):
    settings = {"quality": 20}
    results.save(
        tmp_path,
        "Q20",
        make_results(),
        make_key(),
        description="plain JPEG",
        settings=settings,
        versions={"numpy": "1"},
    )
    record = json.loads((tmp_path / "Q20.json").read_text())
    assert (record["name"], record["description"]) == ("Q20", "plain JPEG")
    assert record["results"] == {
        "bpp": [pytest.approx(13 / 60)],
        "psnr-rgb": [pytest.approx(31.803)],
        "ms-ssim-rgb": [pytest.approx(0.94)],
        "lpips-alex": [pytest.approx(0.175)],
        "mse": [55.625],
        "ssimulacra2": [38.625],
    }
    assert record["settings"] == settings
    assert record["versions"] == {"numpy": "1"}
    assert record["key"] == make_key()
    assert record["notes"] == []


def test_json_is_strict_and_says_what_is_not_finite(tmp_path):
    save(tmp_path, psnr=[np.inf, np.inf], **{"ms-ssim": [np.nan, 0.9]})

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads((tmp_path / "Q20.json").read_text(), parse_constant=refuse)
    assert record["results"]["psnr-rgb"] == [None]
    assert record["results"]["ms-ssim-rgb"] == [0.9]
    assert "psnr-rgb is null: its mean is inf" in record["notes"]
    assert any("mean over 1 of 2 images" in note for note in record["notes"])
    loaded = results.load(tmp_path, "Q20", make_key())
    assert loaded.values["psnr"] == [np.inf, np.inf]
    assert np.isnan(loaded.values["ms-ssim"][0])


def test_blank_page_does_not_make_the_mean_infinite(tmp_path):
    save(tmp_path, psnr=[np.inf, 30.0])
    record = json.loads((tmp_path / "Q20.json").read_text())
    assert record["results"]["psnr-rgb"] == [30.0]
    assert record["notes"] == [
        "psnr-rgb is the mean over 1 of 2 images, the others equal their originals"
    ]
    loaded = results.load(tmp_path, "Q20", make_key())
    assert loaded.means()["psnr"] == 30.0 and loaded.infinite("psnr") == 1
    assert read_point(tmp_path / "Q20.csv").means()["psnr"] == 30.0


@pytest.mark.parametrize("name", ["bpp", "lpips"])
@pytest.mark.parametrize("value", [1e308, -1e300, np.inf])
def test_numbers_beyond_all_measure_are_measured_again(tmp_path, caplog, name, value):
    save(tmp_path, **{name: [0.5, value]})
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert f"{name} of {value:g}" in caplog.text
    with pytest.raises(ValueError, match=f"{name} of"):
        read_point(tmp_path / "Q20.csv")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"key": ' + "9" * 400 + "}"])
def test_odd_record_is_a_damaged_one(tmp_path, caplog, text):
    save(tmp_path)
    (tmp_path / "Q20.json").write_text(text)
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.json is damaged" in caplog.text


def save_as_an_older_program(folder):
    """Saves an operating point of which only the five lists were measured."""
    lists = {name: VALUES[name] for name in results.PICKLED}
    results.save(folder, "Q20", results.PointResults(IMAGES, lists), make_key())
    return lists


def test_a_point_of_an_older_program_has_the_five_lists_alone(tmp_path):
    lists = save_as_an_older_program(tmp_path)
    assert (tmp_path / "Q20.csv").read_text().startswith("image,bpp,mse,lpips,psnr,ms-")
    found = results.load(tmp_path, "Q20", make_key())
    assert found.values == read_point(tmp_path / "Q20.csv").values == lists
    means = found.means()
    for name in lists:
        assert means.pop(name) == pytest.approx(np.mean(lists[name]))
    assert {"ssimulacra2", "butteraugli"} <= set(means)
    assert np.isnan([*means.values()]).all()


def test_one_note_tells_which_points_are_of_an_older_program(tmp_path):
    save_as_an_older_program(tmp_path)
    old = results.load(tmp_path, "Q20", make_key())
    new = make_results(**{"ssimulacra2": [np.nan, np.nan]})
    assert results.note_on_missing({}) == results.note_on_missing({"new": new}) == ""
    one = results.note_on_missing({"new": new, "Q20": old})
    assert one.startswith("Without ssimulacra2: Q20, measured by an older program")
    three = results.note_on_missing({"Q5": old, "new": new, "Q20": old, "Q30": old})
    assert three.startswith("Without ssimulacra2: Q5 and 2 more, measured")


def test_butteraugli_is_kept_where_it_was_measured(tmp_path):
    save(tmp_path, butteraugli=[2.5, 1.5])
    assert (tmp_path / "Q20.csv").read_text().splitlines()[0].endswith(",butteraugli")
    record = json.loads((tmp_path / "Q20.json").read_text())
    assert record["results"]["butteraugli-3norm"] == [2.0]
    found = results.load(tmp_path, "Q20", make_key())
    assert found.values["butteraugli"] == [2.5, 1.5]
    without = {"Q5": make_results(), "Q20": found}
    assert results.note_on_missing(without).startswith("Without butteraugli: Q5, ")
    assert not results.note_on_missing({"Q5": make_results()})


@pytest.mark.parametrize("name", VALUES)
def test_a_csv_of_other_numbers_is_measured_again(tmp_path, caplog, name):
    save(tmp_path)
    path = tmp_path / "Q20.csv"
    path.write_text(path.read_text().replace(repr(VALUES[name][0]), "0.75"))
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.json is the record of another CSV file" in caplog.text


@pytest.mark.parametrize("text", ["", "\n", "image\na.png\n", "a,bpp\nb,1\n"])
def test_a_csv_that_is_no_table_is_measured_again(tmp_path, text):
    save(tmp_path)
    (tmp_path / "Q20.csv").write_text(text)
    record = json.loads((tmp_path / "Q20.json").read_text())
    record["csv_sha256"] = results.file_sha256(tmp_path / "Q20.csv")
    (tmp_path / "Q20.json").write_text(json.dumps(record))
    assert results.load(tmp_path, "Q20", make_key()) is None


def test_a_csv_that_is_gone_is_measured_again(tmp_path, caplog):
    save(tmp_path)
    os.remove(tmp_path / "Q20.csv")
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.csv is missing" in caplog.text


def test_a_record_of_other_images_than_its_csv_is_measured_again(tmp_path, caplog):
    save(tmp_path)
    path, key = tmp_path / "Q20.json", make_key()
    path.write_text(path.read_text().replace("b, c.png", "b.png"))
    key["images"][1]["name"] = "b.png"
    assert results.load(tmp_path, "Q20", key) is None
    assert "Q20.csv is of other images" in caplog.text


def test_undefined_values_of_a_small_image_are_kept(tmp_path):
    save(tmp_path, **{"ms-ssim": [np.nan, 0.9], "ssimulacra2": [np.nan, 20.0]})
    found = results.load(tmp_path, "Q20", make_key())
    assert found.means()["ssimulacra2"] == 20
    record = json.loads((tmp_path / "Q20.json").read_text())
    assert any(
        note.startswith("ssimulacra2 is the mean over 1 of 2 images")
        for note in record["notes"]
    )


def test_key_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        results.save(tmp_path, "Q20", make_results(), make_key(scale=np.nan))
    assert os.listdir(tmp_path) == []


def test_library_versions_leave_out_what_is_not_installed():
    versions = results.library_versions(["numpy", "no-such-package"])
    assert versions.keys() == {"numpy"}
    assert versions["numpy"] == np.__version__


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"images": make_key()["images"] + [{"name": "c"}]}, "test images (2 -> 3)"),
        (
            {"images": [make_key()["images"][0], {"name": "b, c.png", "sha256": "0"}]},
            "other test images (b, c.png)",
        ),
        ({"checkpoint": "d" * 64}, "other checkpoint (cccccccccccc... -> dddddddddddd"),
        ({"checkpoint": None}, "other checkpoint"),
        ({"settings": {"quality": 21}}, "settings: other quality (20 -> 21)"),
        ({"settings": {"quality": 20, "more": 1}}, "settings: other more (null -> 1)"),
        ({"code": "ba9876543210"}, "other code (0123456789ab -> ba9876543210)"),
        ({"unknown": 1}, "other unknown"),
    ],
)
def test_other_key_is_measured_again_and_the_log_says_why(
    tmp_path, caplog, changes, reason
):
    save(tmp_path)
    assert results.load(tmp_path, "Q20", make_key(**changes)) is None
    assert "Q20: measured again" in caplog.text
    assert reason in caplog.text


def test_key_with_tuples_equals_what_json_gives_back(tmp_path):
    key = make_key(settings={"range": (1, 2)})
    results.save(tmp_path, "Q20", make_results(), key)
    assert results.load(tmp_path, "Q20", key) == make_results()


def test_a_point_without_a_record_is_not_measured_yet(tmp_path, caplog):
    save(tmp_path)
    results.discard(tmp_path, "Q20")
    with caplog.at_level(logging.DEBUG, logger="evaluation.results"):
        assert results.load(tmp_path, "Q20", make_key()) is None
    assert "not measured before" in caplog.text


def test_a_pickle_that_is_gone_is_written_again(tmp_path):
    save(tmp_path)
    data = (tmp_path / "Q20.pickle").read_bytes()
    os.remove(tmp_path / "Q20.pickle")
    assert results.load(tmp_path, "Q20", make_key()) == make_results()
    assert (tmp_path / "Q20.pickle").read_bytes() == data


def test_what_was_not_measured_is_nan_in_the_pickle(tmp_path):
    without_lpips = {name: VALUES[name] for name in VALUES if name != "lpips"}
    measured = results.PointResults(IMAGES, without_lpips)
    results.save(tmp_path, "Q20", measured, make_key())
    lists = pickle.loads((tmp_path / "Q20.pickle").read_bytes())
    assert np.isnan(lists[2]).all() and lists[3] == VALUES["psnr"]
    assert results.load(tmp_path, "Q20", make_key()) == measured


@pytest.mark.parametrize("newer", ["Q20.csv", "Q20.json"])
def test_table_and_record_of_different_moments_are_not_taken_together(
    tmp_path, caplog, newer
):
    save(tmp_path / "old")
    save(tmp_path / "new", mse=[1.0, 2.0])
    os.replace(tmp_path / "new" / newer, tmp_path / "old" / newer)
    assert results.load(tmp_path / "old", "Q20", make_key()) is None
    assert "the record of another CSV file" in caplog.text


@pytest.mark.parametrize("writes_done", [0, 1, 2])
def test_interrupted_save_never_leaves_results_that_lie(
    tmp_path, monkeypatch, writes_done
):
    """Whatever was written before the end, neither key finds wrong numbers."""
    old, new = make_key(), make_key(checkpoint="d" * 64)
    write, calls = results.write_atomically, []

    def write_then_die(path, data):
        if len(calls) == writes_done:
            raise KeyboardInterrupt
        calls.append(path)
        write(path, data)

    for folder, is_there in ((tmp_path / "fresh", False), (tmp_path / "again", True)):
        calls.clear()
        if is_there:
            results.save(folder, "Q20", make_results(), old)
        with monkeypatch.context() as patch:
            patch.setattr(results, "write_atomically", write_then_die)
            with pytest.raises(KeyboardInterrupt):
                results.save(folder, "Q20", make_results(mse=[1.0, 2.0]), new)
        done = make_results(mse=[1.0, 2.0]) if writes_done == 2 else None
        assert results.load(folder, "Q20", new) == done
        assert results.load(folder, "Q20", old) in (None, make_results())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "Q20"}', "\xff"])
def test_damaged_record_is_measured_again(tmp_path, caplog, text):
    save(tmp_path)
    (tmp_path / "Q20.json").write_bytes(text.encode("latin1"))
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.json" in caplog.text


@pytest.mark.parametrize("removed", [[], ["pickle"], ["pickle", "json"]])
def test_interrupted_discard_leaves_all_or_nothing(tmp_path, monkeypatch, removed):
    """A pickle without a record would be refused as somebody's own."""
    save(tmp_path)
    remove, calls = os.remove, []

    def remove_then_die(path):
        if len(calls) == len(removed):
            raise KeyboardInterrupt
        calls.append(path)
        remove(path)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "remove", remove_then_die)
        results.discard(tmp_path, "Q20")
    assert [path.rpartition(".")[2] for path in map(str, calls)] == removed
    done = None if removed == ["pickle", "json"] else make_results()
    assert results.load(tmp_path, "Q20", make_key()) == done


@pytest.mark.parametrize("call", [results.load, results.load_rows])
def test_a_pickle_without_a_record_is_not_overwritten(tmp_path, call):
    save(tmp_path)
    os.remove(tmp_path / "Q20.json")
    with pytest.raises(UserError, match=r"Q20.pickle: .*evaluation.import_pickles"):
        call(tmp_path, "Q20", make_key())


def test_file_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert results.file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )

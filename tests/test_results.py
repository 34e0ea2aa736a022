"""Tests of results.py: what is stored, what is refused, BD-rates with known answers."""

import csv
import json
import logging
import os
import pickle
import pickletools

import bjontegaard
import numpy as np
import pytest

import results
from errors import UserError

ANCHORS = os.path.join(
    os.path.dirname(__file__), "..", "..", "shared", "anchors", "kodak_curves.json"
)
IMAGES = ["a.png", "b, c.png"]
VALUES = {
    "bpp": [0.1, 1 / 3],
    "mse": [20.25, 91.0],
    "lpips": [0.1, 0.25],
    "psnr": [35.066, 28.54],
    "ms-ssim": [0.98, 0.9],
}


def make_results(**changes):
    return results.DotResults(IMAGES, {**VALUES, **changes})


def make_key(**changes):
    images = [
        {"name": name, "height": 512, "width": 768, "sha256": name[0] * 64}
        for name in IMAGES
    ]
    key = {"checkpoint": "c" * 64, "images": images, "settings": {"quality": 20}}
    return {**key, "code": "0123456789ab", **changes}


def save(folder, **changes):
    results.save(folder, "Q20", make_results(**changes), make_key())


def lists_of(dot):
    return [dot.values[name] for name in results.LISTS]


def write_pickle(folder, data):
    path = os.path.join(folder, "Q20.pickle")
    with open(path, "wb") as file:
        file.write(data)
    return path


# --- Means and files ---------------------------------------------------------------


def test_means_are_means_of_per_image_values():
    assert make_results().means() == pytest.approx(
        {"bpp": 13 / 60, "mse": 55.625, "lpips": 0.175, "psnr": 31.803, "ms-ssim": 0.94}
    )


def test_means_leave_out_images_that_are_too_small_for_a_metric():
    means = make_results(**{"ms-ssim": [np.nan, 0.9]}, lpips=[0.25, np.nan]).means()
    assert means["ms-ssim"] == 0.9
    assert means["lpips"] == 0.25


def test_ms_ssim_of_small_images_only_is_nan_without_a_warning():
    assert np.isnan(make_results(**{"ms-ssim": [np.nan] * 2}).means()["ms-ssim"])


def test_lists_of_another_length_than_the_images_are_refused():
    with pytest.raises(ValueError, match="1 values of mse for 2 images"):
        make_results(mse=[1.0])


def test_from_rows_equals_the_lists():
    columns = zip(*VALUES.values(), strict=True)
    rows = [dict(zip(VALUES, row, strict=True)) for row in columns]
    assert results.DotResults.from_rows(IMAGES, rows) == make_results()


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
    assert header == ["image", *results.LISTS]
    assert [row[0] for row in rows] == IMAGES
    columns = list(zip(*(map(float, row[1:]) for row in rows), strict=True))
    assert [list(column) for column in columns] == lists_of(make_results())


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
    }
    assert record["settings"] == settings
    assert record["versions"] == {"numpy": "1"}
    assert record["key"] == make_key()
    assert record["notes"] == []


def test_json_is_strict_and_says_what_is_not_finite(tmp_path):
    save(tmp_path, psnr=[np.inf, 30.0], **{"ms-ssim": [np.nan, 0.9]})

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads((tmp_path / "Q20.json").read_text(), parse_constant=refuse)
    assert record["results"]["psnr-rgb"] == [None]
    assert record["results"]["ms-ssim-rgb"] == [0.9]
    assert "psnr-rgb is null: its mean is inf" in record["notes"]
    assert any("mean over 1 of 2 images" in note for note in record["notes"])
    loaded = results.load(tmp_path, "Q20", make_key())
    assert loaded.values["psnr"] == [np.inf, 30.0]
    assert np.isnan(loaded.values["ms-ssim"][0])


def test_key_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError):
        results.save(tmp_path, "Q20", make_results(), make_key(scale=np.nan))
    assert os.listdir(tmp_path) == []


def test_library_versions_leave_out_what_is_not_installed():
    versions = results.library_versions(["numpy", "no-such-package"])
    assert versions.keys() == {"python", "numpy"}
    assert versions["numpy"] == np.__version__


# --- Caches ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
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
    assert "Q20.pickle: measured again" in caplog.text
    assert reason in caplog.text


def test_key_with_tuples_equals_what_json_gives_back(tmp_path):
    key = make_key(settings={"range": (1, 2)})
    results.save(tmp_path, "Q20", make_results(), key)
    assert results.load(tmp_path, "Q20", key) == make_results()


def test_missing_pickle_is_not_measured_yet(tmp_path, caplog):
    save(tmp_path)
    os.remove(tmp_path / "Q20.pickle")
    with caplog.at_level(logging.INFO, logger="results"):
        assert results.load(tmp_path, "Q20", make_key()) is None
    assert "not measured before" in caplog.text


@pytest.mark.parametrize("newer", ["Q20.pickle", "Q20.json"])
def test_pickle_and_record_of_different_moments_are_not_taken_together(
    tmp_path, caplog, newer
):
    save(tmp_path / "old")
    save(tmp_path / "new", mse=[1.0, 2.0])
    os.replace(tmp_path / "new" / newer, tmp_path / "old" / newer)
    assert results.load(tmp_path / "old", "Q20", make_key()) is None
    assert "the record of another pickle" in caplog.text


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
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(results, "write_atomically", write_then_die)
            results.save(folder, "Q20", make_results(mse=[1.0, 2.0]), new)
        assert results.load(folder, "Q20", new) is None
        assert results.load(folder, "Q20", old) in (None, make_results())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "Q20"}', "\xff"])
def test_damaged_record_is_measured_again(tmp_path, caplog, text):
    save(tmp_path)
    (tmp_path / "Q20.json").write_bytes(text.encode("latin1"))
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.json" in caplog.text


def test_old_pickle_without_record_is_used_with_a_warning(tmp_path, caplog):
    save(tmp_path)
    os.remove(tmp_path / "Q20.json")
    assert results.load(tmp_path, "Q20", make_key()) == make_results()
    assert caplog.records[-1].levelno == logging.WARNING
    assert "Q20.pickle: used without a record" in caplog.text


def test_old_pickle_of_another_number_of_images_is_measured_again(tmp_path, caplog):
    save(tmp_path)
    os.remove(tmp_path / "Q20.json")
    assert results.load(tmp_path, "Q20", make_key(images=[{"name": "a"}])) is None
    assert "no record, and 2 images instead of 1" in caplog.text


def test_damaged_pickle_is_measured_again(tmp_path, caplog):
    save(tmp_path)
    write_pickle(tmp_path, (tmp_path / "Q20.pickle").read_bytes()[:-20])
    assert results.load(tmp_path, "Q20", make_key()) is None
    assert "Q20.pickle: measured again: the pickle is damaged" in caplog.text


# --- Pickles -----------------------------------------------------------------------


def float32_lists(container=list):
    return container(container(np.float32(v) for v in VALUES[n]) for n in results.LISTS)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        float32_lists(),
        float32_lists(tuple),
        [np.array(VALUES[name]) for name in results.LISTS],
        [[np.array([v]) for v in VALUES[name]] for name in results.LISTS],
        np.array([VALUES[name] for name in results.LISTS], ">f8"),
        np.asfortranarray([VALUES[name] for name in results.LISTS]),
    ],
    ids=["scalars", "tuples", "arrays", "arrays of one", "big endian", "fortran"],
)
def test_numpy_pickles_of_every_protocol_load(tmp_path, content, protocol):
    lists = results.unpickle_lists(pickle.dumps(content, protocol), "x.pickle")
    assert all(type(value) is float for row in lists for value in row)
    np.testing.assert_allclose(lists, lists_of(make_results()), rtol=1e-7)


def test_numpy_2_module_names_load():
    data = pickle.dumps(float32_lists(), protocol=2)
    renamed = data.replace(b"cnumpy.core.", b"cnumpy._core.")
    assert renamed != data
    assert results.unpickle_lists(renamed, "x") == results.unpickle_lists(data, "x")


def test_python_2_pickle_loads():
    # What cPickle of Python 2.7 writes for five lists of one numpy.float32(1.5).
    scalar = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR"
    scalar += b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbS'\\x00\\x00\\xc0?'\ntR"
    data = b"(" + 5 * (b"(" + scalar + b"l") + b"l."
    assert results.unpickle_lists(data, "x") == [[1.5]] * 5


class Call:
    """Pickles as a call of a function, as an attacker writes it."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["alone", "inside"])
@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda mark: Call(os.system, f"touch {mark}"), "system"),
        (lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (lambda mark: Call(getattr, 1, "real"), "getattr"),
        (lambda mark: Call(np.load, str(mark)), "load"),
        (lambda mark: Call(bytearray, 10), "bytearray"),
    ],
)
def test_pickle_that_asks_for_code_is_refused_without_running_it(
    tmp_path, make, refused, where, protocol
):
    mark = tmp_path / "it ran"
    content = make(mark) if where == "alone" else [[make(mark)], [1], [1], [1], [1]]
    path = write_pickle(tmp_path, pickle.dumps(content, protocol))
    with pytest.raises(UserError, match=f"{refused}, which was refused") as caught:
        results.load(tmp_path, "Q20", make_key(images=[{"name": "a"}]))
    assert str(caught.value).startswith(path)
    assert not isinstance(caught.value, results.DamagedPickle)
    assert not mark.exists()


def test_refused_pickle_beside_a_record_is_an_error_too(tmp_path):
    save(tmp_path)
    write_pickle(tmp_path, pickle.dumps(Call(os.system, "true")))
    with pytest.raises(UserError, match="refused"):
        results.load(tmp_path, "Q20", make_key())


def test_dotted_names_do_not_reach_through_allowed_ones():
    names = (b"numpy.core.multiarray", b"scalar.__globals__")
    strings = b"".join(b"\x8c" + bytes([len(name)]) + name for name in names)
    with pytest.raises(UserError, match="refused"):
        results.unpickle_lists(b"\x80\x04" + strings + b"\x93.", "x")


def numpy_array_pickle(dtype, raw, shape=b"(I1\nt"):
    """Protocol 0 of an array, with the parts given as they are."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    array += b"(I1\n" + shape + b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR"
    array += b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + raw + b"tb"
    return b"(" + 5 * array + b"l."


def test_handwritten_array_pickle_loads():
    """The helper writes it right, so that what the next test refuses is its input."""
    assert (
        results.unpickle_lists(numpy_array_pickle(b"f4", b"S'\\x00\\x00\\xc0?'\n"), "x")
        == [[1.5]] * 5
    )


@pytest.mark.parametrize(
    ("dtype", "raw", "shape"),
    [
        (b"O8", b"(I1\nl", b"(I1\nt"),
        (b"O", b"S'12345678'\n", b"(I1\nt"),
        (b"V8", b"S'12345678'\n", b"(I1\nt"),
        (b"f4,O", b"S'12345678'\n", b"(I1\nt"),
        (b"f4", b"S'1234'\n", b"(I1000000000\nt"),
        (b"f4", b"I4\n", b"(I1\nt"),
        (b"c16", b"S'1234567812345678'\n", b"(I1\nt"),
        (b"M8[s]", b"S'12345678'\n", b"(I1\nt"),
    ],
)
def test_numpy_types_and_shapes_that_are_no_numbers_are_damaged(dtype, raw, shape):
    with pytest.raises(results.DamagedPickle):
        results.unpickle_lists(numpy_array_pickle(dtype, raw, shape), "x")


@pytest.mark.parametrize(
    "content",
    [
        np.array([[1.0, None]] * 5, object),
        [np.array([1.0, "2"], object)] * 5,
        [[object_] * 5 for object_ in ("1", None, True, b"1", [1, 2], {})],
        [[1.0]] * 4,
        [[1.0]] * 6,
        [[1.0], [1.0], [1.0], [1.0], [1.0, 2.0]],
        [1.0] * 5,
        1.0,
        {"bpp": [1.0]},
        [["1.0"]] * 5,
        [[True]] * 5,
        [[None]] * 5,
        [[10**400]] * 5,
    ],
)
def test_pickle_without_five_equal_lists_of_numbers_is_damaged(content):
    with pytest.raises(results.DamagedPickle, match="x.pickle: .*delete it"):
        results.unpickle_lists(pickle.dumps(content), "x.pickle")


def test_every_truncation_of_a_pickle_is_damaged():
    data = pickle.dumps(float32_lists())
    for length in range(len(data)):
        with pytest.raises(results.DamagedPickle):
            results.unpickle_lists(data[:length], "x")


# --- Hashes ------------------------------------------------------------------------

SOURCE = '"""A module."""\n\n\ndef f(x):\n    """Doubles."""\n    return 2 * x\n'


def code_version_of(tmp_path, source, name="m.py"):
    path = tmp_path / name
    path.write_text(source)
    return results.code_version([str(path)])


def test_code_version_ignores_comments_docstrings_and_formatting(tmp_path):
    same = "def f( x ) :  # doubles\n\n    return (2*\n      x)\n"
    documented = code_version_of(tmp_path, SOURCE)
    assert code_version_of(tmp_path, same) == documented
    assert len(documented) == 12


@pytest.mark.parametrize(
    ("old", "new"), [("2 * x", "3 * x"), ("2 * x", "x * 2"), ("f(x)", "f(x=1)")]
)
def test_code_version_changes_with_the_code(tmp_path, old, new):
    before = code_version_of(tmp_path, SOURCE)
    assert code_version_of(tmp_path, SOURCE.replace(old, new)) != before


def test_code_version_keeps_strings_that_are_not_docstrings(tmp_path):
    before = code_version_of(tmp_path, 'a = "x"\n"""y"""\n')
    assert code_version_of(tmp_path, 'a = "x"\n"""z"""\n') != before


def test_code_version_does_not_depend_on_the_order_of_files(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.py", "b.py")]
    for index, path in enumerate(paths):
        with open(path, "w") as file:
            file.write(f"x = {index}\n")
    assert results.code_version(paths) == results.code_version(paths[::-1])


def test_file_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert results.file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


# --- BD-rate -----------------------------------------------------------------------

BPP = [0.25, 0.4, 0.6, 0.9, 1.3, 2.0]
MEANS = {
    "psnr": [24.0, 27.1, 29.4, 31.5, 33.6, 36.4],
    "ms-ssim": [0.81, 0.9, 0.95, 0.973, 0.986, 0.993],
    "lpips": [0.45, 0.3, 0.17, 0.1, 0.05, 0.02],
}


def curve_of(metric, factor=1.0, points=slice(None)):
    pairs = zip(BPP, MEANS[metric], strict=True)
    return [(factor * bpp, value) for bpp, value in pairs][points]


def dots_of(factor=1.0, points=slice(None)):
    names = ("bpp", "psnr", "ms-ssim", "lpips")
    rows = zip([factor * bpp for bpp in BPP], *MEANS.values(), strict=True)
    return [{**dict(zip(names, row, strict=True)), "mse": 1.0} for row in rows][points]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("metric", list(MEANS))
def test_bd_rate_of_scaled_rates_is_the_scale(metric, factor):
    rate = results.bd_rate(curve_of(metric), curve_of(metric, factor), metric)
    assert rate.percent == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert rate.dropped == 0


@pytest.mark.parametrize("metric", list(MEANS))
def test_bd_rate_of_scaled_rates_is_the_scale_within_a_range_of_rates_too(metric):
    anchor, curve = curve_of(metric), curve_of(metric, 0.8)
    rate = results.bd_rate(anchor, curve, metric, (0.3, 1.2))
    everything = results.bd_rate(anchor, curve, metric)
    assert rate.percent == pytest.approx(-20, abs=1e-9)
    # From the curve's quality at 0.3 bpp to the anchor's at 1.2 bpp.
    worst, best = np.abs(np.subtract(everything.overlap, rate.overlap))
    assert worst > 0 and best > 0


def test_bd_rate_overlap_is_in_the_units_of_the_metric():
    for metric, ends in (("psnr", (24.0, 36.4)), ("lpips", (0.45, 0.02))):
        overlap = results.bd_rate(curve_of(metric), curve_of(metric), metric).overlap
        assert overlap == pytest.approx(ends)
    overlap = results.bd_rate(*[curve_of("ms-ssim")] * 2, "ms-ssim").overlap
    assert overlap == pytest.approx((7.2125, 21.549), abs=1e-3)


def test_bd_rate_range_ends_lie_on_the_curve():
    anchor = curve_of("psnr")
    overlap = results.bd_rate(anchor, anchor, "psnr", (0.4, 1.3)).overlap
    assert overlap == pytest.approx((27.1, 33.6), abs=1e-9)


def test_bd_rate_without_a_range_equals_the_package():
    other = [(0.2, 24.5), (0.5, 29.0), (0.7, 31.0), (1.0, 32.5), (1.2, 34.0)]
    anchor = curve_of("psnr")
    expected = bjontegaard.bd_rate(
        *np.transpose(anchor),
        *np.transpose(other),
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    rate = results.bd_rate(anchor, other[::-1], "psnr")
    assert rate.percent == pytest.approx(expected)
    assert rate.overlap == (24.5, 34.0)


@pytest.mark.parametrize(
    ("curve", "bpp_range", "reason"),
    [
        ([(b, p + 20) for b, p in curve_of("psnr")], None, "no overlap"),
        (curve_of("psnr"), (3.0, 4.0), "no overlap"),
        (curve_of("psnr"), (0.01, 0.02), "no overlap"),
        ([(b / 20, p) for b, p in curve_of("psnr")], (0.3, 1.2), "no overlap"),
        (curve_of("psnr", points=slice(3)), None, "3 of 4 points"),
        ([], None, "0 of 4 points"),
    ],
)
def test_bd_rate_gives_no_number_from_nothing(curve, bpp_range, reason):
    rate = results.bd_rate(curve_of("psnr"), curve, "psnr", bpp_range)
    assert (rate.percent, rate.overlap, rate.reason) == (None, None, reason)


def test_bd_rate_leaves_out_dominated_and_infinite_points():
    good = curve_of("psnr", 0.8)
    bad = [(0.5, 20.0), (good[2][0], 28.0), (1.0, np.nan), (3.0, np.inf), (0.0, 10.0)]
    rate = results.bd_rate(curve_of("psnr"), bad + good, "psnr")
    assert rate.percent == pytest.approx(-20, abs=1e-9)
    assert rate.dropped == len(bad)


PUBLISHED = {
    "pillow 4:4:4 optimized Huffman": (-20.4, -19.2, -22.9),
    "pillow 4:4:4 + mozjpeg lossless": (-22.6, -21.5, -25.5),
    "mozjpeg 4:4:4": (-25.1, -30.1, -22.9),
    "mozjpeg 4:4:4 tune-psnr": (-37.1, -18.7, -21.6),
    "mozjpeg 4:4:4 no trellis": (-23.5, -23.4, -26.7),
    "mozjpeg 4:2:0": (-30.6, -34.2, -25.0),
    "jpegli 4:4:4": (-20.2, -20.7, -10.6),
    "jpegli 4:2:0": (-28.9, -33.6, -21.3),
}


@pytest.mark.skipif(not os.path.exists(ANCHORS), reason="no measured anchor curves")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_bd_rates_of_the_measured_anchors_are_the_published_ones(name):
    with open(ANCHORS) as file:
        curves = {curve["name"]: curve["results"] for curve in json.load(file)}
    pairs = zip(("psnr-rgb", "ms-ssim-rgb", "lpips-alex"), MEANS, strict=True)
    for (column, metric), published in zip(pairs, PUBLISHED[name], strict=True):
        anchor, curve = (
            list(zip(curves[n]["bpp"], curves[n][column], strict=True))
            for n in ("pillow 4:4:4 default Huffman", name)
        )
        rate = results.bd_rate(anchor, curve, metric, (0.2, 1.2))
        # Published to 0.1, from curves that were not yet rounded.
        assert rate.percent == pytest.approx(published, abs=0.06)


# --- Tables ------------------------------------------------------------------------


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "not aligned"
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines]


def test_bd_rate_table_tells_percent_overlap_and_what_is_missing():
    curves = {
        "run": dots_of(0.8),
        "short": dots_of(points=slice(2)),
        "far": [{**dot, "psnr": dot["psnr"] + 50} for dot in dots_of()],
    }
    table = results.bd_rate_table("JPEG", dots_of(), curves)
    header, rule, run, short, far = cells(table)
    assert header == ["run", "PSNR [dB]", "MS-SSIM [dB]", "LPIPS"]
    assert set("".join(rule)) == {"-", ":"}
    assert run[1:] == [
        "-20.0 % (24.0 to 36.4)",
        "-20.0 % (7.2 to 21.5)",
        "-20.0 % (0.450 to 0.020)",
    ]
    assert short[1:] == ["2 of 4 points"] * 3
    assert far[1] == "no overlap" and far[2].startswith("+0.0 % ")
    assert "against JPEG" in table and "*" not in table


def test_bd_rate_table_marks_curves_with_points_left_out():
    dots = [*dots_of(0.8), {**dots_of()[0], "bpp": 1.9}]
    table = results.bd_rate_table("JPEG", dots_of(), {"run": dots}, (0.3, 1.2))
    assert all(cell.startswith("-20.0 %* (") for cell in cells(table)[2][1:])
    assert "0.3 to 1.2 bpp" in table and "\n\n* without" in table


def test_summary_table_shows_the_means():
    dot = {"bpp": 0.5, "psnr": 30.126, "ms-ssim": 0.95, "lpips": 0.125, "mse": 63.9}
    small = {**dot, "ms-ssim": float("nan")}
    _, _, row, undefined = cells(results.summary_table({"Q20": dot, "small": small}))
    assert row == ["Q20", "0.5000", "30.13", "0.9500", "13.01", "0.1250", "63.90"]
    assert undefined[3] == "nan"


def test_ms_ssim_of_one_is_infinite_decibels():
    assert results.ms_ssim_db(1.0) == np.inf
    assert results.ms_ssim_db(0.99) == pytest.approx(20)

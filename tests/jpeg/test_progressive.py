"""Tests of jpeg/progressive.py: decoders agree on its files, which are small."""

import base64
import io
import itertools
import re
import shutil
import subprocess

import mozjpeg_lossless_optimization
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from learned_jpeg.jpeg import SUBSAMPLINGS, huffman, progressive
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.bands import (
    BandScans,
    band_histogram,
    choose_bands,
    choose_scans,
)
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.sampling import plane_blocks
from learned_jpeg.jpeg.scans import coded_bits, zigzag_blocks
from tests.jpeg.helpers import (
    SIZES,
    ZIGZAG,
    assert_same_coefficients,
    pillow_jpeg,
    random_quantized,
)
from tests.paths import EXAMPLE_IMAGES

FEW = settings(max_examples=25, deadline=None)
TABLES = np.random.default_rng(5).integers(1, 256, (2, 8, 8)).astype(np.uint8)


def photo_integers(height, width, sampling, quality=60):
    """Returns the integers of a crop of a photograph."""
    with Image.open(EXAMPLE_IMAGES / "astronaut.png") as photo:
        rgb = np.array(photo.convert("RGB").crop((90, 10, 90 + width, 10 + height)))
    data = pillow_jpeg(rgb, quality=quality, subsampling=sampling)
    return jpeg_file.read_coefficients(data)


def filled(height, width, sampling, dc=0, ac=0):
    """Returns an image with the same integers in every block."""
    planes = []
    for blocks in plane_blocks(height, width, sampling):
        plane = np.full((*blocks, 8, 8), ac, np.int16)
        plane[:, :, 0, 0] = dc
        planes.append(plane)
    return QuantizedImage(tuple(planes), sampling, TABLES, height, width)


def scans_of(data):
    """Returns [(components, start, end, table, bytes, (high, low))], as T.81 says.

    The table is that of the scan: 16 counts of lengths and the symbols. The bytes are
    those of the entropy-coded data. The last bits that are coded before a scan and by
    it are high and low.
    """
    position, tables, found = 2, {}, []
    while data[position + 1] != 0xD9:
        marker = data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        payload = data[position + 4 : end]
        if marker == 0xC4:
            tables |= tables_of(payload)
        if marker == 0xDA:
            start = end
            while data[end] != 0xFF or data[end + 1] == 0:
                end += 1
            components = payload[1 : 1 + 2 * payload[0] : 2]
            first, last, approximation = payload[-3:]
            dc_number, ac_number = divmod(payload[2], 16)
            table = tables[ac_number + 16 if first else dc_number]
            assert not (dc_number if first else ac_number)
            bits = divmod(approximation, 16)
            found.append((tuple(components), first, last, table, data[start:end], bits))
        position = end
    assert data[position:] == b"\xff\xd9"
    return found


def tables_of(payload):
    """Returns {class and number: table} of a DHT segment."""
    found = {}
    while payload:
        count = 17 + sum(payload[1:17])
        found[payload[0]] = payload[1:count]
        payload = payload[count:]
    return found


# Integers that are read back


@FEW
@given(
    st.integers(0, 2**32),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(SUBSAMPLINGS),
)
def test_every_integer_and_table_reads_back_equal(seed, height, width, sampling):
    quantized = random_quantized(seed, height, width, sampling)
    data = progressive.encode_progressive(quantized)
    assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_reads_back_equal_without_a_warning(size, sampling, capfd):
    for quantized in (
        random_quantized(1, *size, sampling),
        photo_integers(*size, sampling),
        filled(*size, sampling),
        filled(*size, sampling, dc=-1024),
        filled(*size, sampling, dc=1023, ac=-1023),
    ):
        data = progressive.encode_progressive(quantized)
        assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)
    assert capfd.readouterr().err == ""


def test_a_missing_byte_would_be_a_warning(capfd):
    """Checks that the tests of this module would see libjpeg's warnings."""
    data = progressive.encode_progressive(photo_integers(60, 60, "4:2:0"))
    jpeg_file.read_coefficients(data[:-4] + data[-2:])
    assert "premature end of data" in capfd.readouterr().err


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_neighbouring_blocks_of_extreme_dc_and_ac_read_back_equal(sampling):
    quantized = filled(40, 56, sampling)
    for plane in quantized.planes:
        plane[::2, 1::2], plane[1::2, ::2] = 1023, -1023
        plane[..., 0, 0] = np.where(plane[..., 0, 0] > 0, 1023, -1024)
    data = progressive.encode_progressive(quantized)
    assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)


def test_runs_of_more_blocks_than_one_symbol_holds_read_back_equal(capfd):
    """Four of 73,683 blocks of Y have coefficients; chroma has none."""
    quantized = filled(72, 65496, "4:2:0")
    luma = quantized.planes[0].reshape(-1, 64)
    for block, coefficient in ((0, 1), (32767, 63), (32768, 20), (65536, 2)):
        luma[block, coefficient] = -3
    data = progressive.encode_progressive(quantized)
    assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)
    assert capfd.readouterr().err == ""


# Decoded pixels


def decoded_by_pillow(data):
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.array(image)


def decoded_by_tensorflow(data):
    options = {"dct_method": "INTEGER_ACCURATE", "fancy_upscaling": True}
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.io.decode_jpeg(data, **options))


def decoded_by_djpeg(data):
    if shutil.which("djpeg") is None:
        pytest.skip("djpeg is not installed")
    done = subprocess.run(["djpeg", "-ppm"], input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return np.array(Image.open(io.BytesIO(done.stdout)))


DECODERS = [decoded_by_pillow, decoded_by_tensorflow, decoded_by_djpeg]


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [*SIZES, (123, 201)])
@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_agree_on_the_pixels(decoder, size, sampling, capfd):
    quantized = photo_integers(*size, sampling)
    data = progressive.encode_progressive(quantized)
    expected = decoded_by_pillow(jpeg_file.encode(quantized))
    capfd.readouterr()
    np.testing.assert_array_equal(decoder(data), expected)
    assert "JPEG" not in capfd.readouterr().err


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_make_up_no_coefficients_that_are_zero(decoder, sampling):
    """Decoders smooth across blocks if a file has not sent low AC coefficients."""
    quantized = filled(64, 80, sampling)
    rng = np.random.default_rng(0)
    for plane in quantized.planes:
        plane[..., 0, 0] = rng.integers(-9, 9, plane.shape[:2])
    quantized = QuantizedImage(
        quantized.planes, sampling, np.full((2, 8, 8), 32), 64, 80
    )
    data = progressive.encode_progressive(quantized)
    plain = jpeg_file.encode(quantized)
    np.testing.assert_array_equal(decoder(data), decoder(plain))
    np.testing.assert_array_equal(decoder(data), decoded_by_pillow(plain))


@FEW
@given(st.integers(0, 2**32), st.sampled_from(SUBSAMPLINGS))
def test_any_integers_show_as_those_of_the_baseline_file(seed, sampling):
    """The integers are far beyond those of images, where decoders differ."""
    quantized = random_quantized(seed, 43, 51, sampling)
    data = progressive.encode_progressive(quantized)
    plain = jpeg_file.encode(quantized)
    for decoder in (decoded_by_pillow, decoded_by_tensorflow):
        np.testing.assert_array_equal(decoder(data), decoder(plain))


PAGE = """<!DOCTYPE html><body><script>
const image = new Image();
image.onload = () => {{
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  document.body.textContent = "pixels: " + Array.from(pixels).join(" ");
}};
image.src = "data:image/jpeg;base64,{data}";
</script></body>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
def test_a_browser_shows_the_pixels_that_pillow_shows(sampling, tmp_path):
    quantized = photo_integers(61, 83, sampling)
    data = progressive.encode_progressive(quantized)
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(data=base64.b64encode(data).decode()))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'user'}"]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    text = re.search(r"pixels: ([\d ]+)<", done.stdout).group(1)
    shown = np.array(text.split(), int).reshape(61, 83, 4)
    np.testing.assert_array_equal(shown[..., :3], decoded_by_pillow(data))


# Scans


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 60, 100])
def test_scans_code_every_bit_once(sampling, quality):
    """A first scan of a coefficient codes all but some bits; later ones a bit each."""
    quantized = photo_integers(50, 70, sampling, quality)
    scans = scans_of(progressive.encode_progressive(quantized))
    assert [scan[:3] for scan in scans[:2]] == [((1,), 0, 0), ((2, 3), 0, 0)]
    assert [scan[5] for scan in scans[:2]] == [(0, 0), (0, 0)]
    for component in (1, 2, 3):
        left = dict.fromkeys(range(1, 64), 0)
        seen = set()
        for _, start, end, _, _, (high, low) in own_scans(scans, component):
            for k in range(start, end + 1):
                assert high == left[k] and (high == low + 1 or k not in seen)
                left[k] = low
                seen.add(k)
        assert seen == set(left) and set(left.values()) == {0}


def own_scans(scans, component):
    return [scan for scan in scans[2:] if scan[0] == (component,)]


def test_scans_of_empty_planes_take_few_bytes():
    data = progressive.encode_progressive(filled(800, 800, "4:4:4"))
    scans = scans_of(data)
    assert [scan[:3] for scan in scans[2:]] == [((c,), 1, 63) for c in (1, 2, 3)]
    assert [len(scan[4]) for scan in scans[2:]] == [2, 2, 2]  # 1 + 13 bits
    assert scans[2][3] == scans[3][3] == scans[4][3]


def test_alike_components_share_their_tables():
    quantized = photo_integers(120, 160, "4:4:4")
    luma = quantized.planes[0]
    same = QuantizedImage((luma, luma, luma), "4:4:4", TABLES, 120, 160)
    scans = scans_of(progressive.encode_progressive(same))
    bands = choose_bands(zigzag_blocks(luma))
    assert len({scan[3] for scan in scans[2:]}) <= len(bands)
    assert len(scans) == 2 + 3 * len(bands)
    assert scans[1][3] == scans[0][3]  # DC of Cb and Cr: as different as that of Y


def test_components_that_differ_have_tables_of_their_own():
    rng = np.random.default_rng(0)
    quantized = filled(160, 160, "4:4:4")
    quantized.planes[0][..., 1:] = rng.integers(-200, 200, (20, 20, 8, 7))
    for plane in quantized.planes[1:]:
        plane[..., 1, 1] = rng.integers(-1, 2, (20, 20))
    scans = scans_of(progressive.encode_progressive(quantized))
    assert len({scan[3] for scan in scans[2:]}) > 1


# Symbols and bits


def band_symbols(blocks, start, end):
    """Yields (symbol, bits after it) of a band, as T.81, G.1.2.2 says."""
    ended = 0
    for block in blocks:
        (places,) = np.nonzero(block[start : end + 1])
        before = -1
        for place in places:
            if ended:
                yield 16 * (ended.bit_length() - 1), ended.bit_length() - 1
                ended = 0
            run, size = place - before - 1, abs(int(block[start + place])).bit_length()
            yield from [(0xF0, 0)] * (run // 16)
            yield 16 * (run % 16) + size, size
            before = place
        ended += int(before < end - start)
        if ended == 32767:
            yield 16 * 14, 14
            ended = 0
    if ended:
        yield 16 * (ended.bit_length() - 1), ended.bit_length() - 1


def assert_histogram(blocks, start, end):
    symbols = list(band_symbols(blocks, start, end))
    counts = band_histogram(blocks, start, end)
    expected = np.bincount([symbol for symbol, _ in symbols], minlength=256)
    np.testing.assert_array_equal(counts, expected)
    lengths = np.arange(256)
    bits = sum(symbol + extra for symbol, extra in symbols)
    assert coded_bits(counts, lengths) == bits


def sparse_blocks(seed, number):
    """Returns int16 `[number, 64]`, mostly 0."""
    rng = np.random.default_rng(seed)
    density = rng.choice([0.001, 0.05, 0.3, 0.9])
    values = np.rint(rng.laplace(0, rng.choice([0.5, 3, 200]), (number, 64)))
    values = np.where(rng.random((number, 64)) < density, values, 0)
    return values.clip(-1023, 1023).astype(np.int16)


@FEW
@given(st.integers(0, 2**32), st.integers(1, 60), st.data())
def test_histograms_are_those_of_the_standard(seed, number, data):
    start = data.draw(st.integers(1, 63))
    end = data.draw(st.integers(start, 63))
    assert_histogram(sparse_blocks(seed, number), start, end)


@pytest.mark.parametrize("number", [32766, 32767, 32768, 65534, 65535, 70000])
def test_histograms_of_long_runs_are_those_of_the_standard(number):
    blocks = np.zeros((number + 2, 64), np.int16)
    assert_histogram(blocks[:number], 1, 63)
    blocks[[0, -1], 5] = 1  # the run begins in the first block, but in 5..5
    assert_histogram(blocks, 1, 63)
    assert_histogram(blocks, 5, 5)
    for start, end, counts, *_ in choose_bands(blocks):
        expected = band_histogram(blocks, start, end)
        np.testing.assert_array_equal(counts, expected)


def test_integers_that_jpeg_cannot_code_have_a_histogram():
    """A search that meets nan has the least integer until it is refused."""
    blocks = np.full((2, 64), -32768, np.int16)
    assert band_histogram(blocks, 1, 63).sum() == 2 * 63
    assert [band.end for band in choose_bands(blocks)][-1] == 63


def test_more_tables_than_a_file_holds_at_a_time_are_defined_again(monkeypatch):
    monkeypatch.setattr(progressive, "_groups_of_one_table", lambda s: [[x] for x in s])
    quantized = photo_integers(200, 200, "4:4:4", 90)
    data = progressive.encode_progressive(quantized)
    assert len(scans_of(data)) > 2 + 4
    assert data.count(b"\xff\xc4") > 1
    assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)


def test_blocks_are_in_the_order_of_the_standard():
    plane = np.arange(2 * 3 * 64, dtype=np.int16).reshape(2, 3, 8, 8)
    blocks = zigzag_blocks(plane)
    assert blocks.shape == (6, 64)
    for position, (v, u) in enumerate(ZIGZAG):
        np.testing.assert_array_equal(blocks[:, position], plane[..., v, u].ravel())


@pytest.mark.parametrize("seed", range(4))
def test_bands_take_the_fewest_bits_of_all_partitions(seed):
    blocks = sparse_blocks(seed, 300)

    def bytes_of(start, end):
        counts = band_histogram(blocks, start, end)
        bits = coded_bits(counts, huffman.code_lengths(counts))
        # Class and 16 counts of a table in DHT with its symbols; SOS.
        return -(-bits // 8) + 17 + np.count_nonzero(counts) + 10

    inner = [2, 5, 8, 12, 18]
    cheapest = None
    for number in range(len(inner) + 1):
        for chosen in itertools.combinations(inner, number):
            starts = [1, *(end + 1 for end in chosen)]
            bands = list(zip(starts, [*chosen, 63], strict=True))
            total = sum(bytes_of(*band) for band in bands)
            cheapest = total if cheapest is None else min(cheapest, total)
    found = choose_bands(blocks)
    assert sum(bytes_of(band.start, band.end) for band in found) == cheapest
    for start, end, counts, *_ in found:
        expected = band_histogram(blocks, start, end)
        np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("quality", [30, 98])
def test_bits_of_scans_are_those_in_the_file(quality):
    quantized = photo_integers(200, 200, "4:4:4", quality)
    blocks = zigzag_blocks(quantized.planes[0])
    scans = own_scans(scans_of(progressive.encode_progressive(quantized)), 1)
    bands = sorted(choose_scans(blocks), key=lambda band: (band.refines, -band.low))
    assert any(band.refines for band in bands) == (quality == 98)
    for band, (_, start, end, table, data, (high, low)) in zip(
        bands, scans, strict=True
    ):
        assert (start, end, low, bool(high)) == (
            (band.start, band.end, band.low, band.refines)
        )
        lengths = np.zeros(256, int)
        per_length = np.repeat(np.arange(1, 17), list(table[:16]))
        lengths[list(table[16:])] = per_length
        bits = coded_bits(band.counts, lengths) + band.corrections
        assert len(data.replace(b"\xff\x00", b"\xff")) == -(-bits // 8)
    assert any(b"\xff\x00" in scan[4] for scan in scans)  # some bytes are stuffed


def scans_that_leave_bits(blocks):
    """Returns a scan that leaves three bits, and scans of those bits."""
    steps = [(3, False), (2, True), (1, True), (0, True)]
    return [
        BandScans.of(blocks, low, refines).band(0, 5, low, refines)
        for low, refines in steps
    ]


@pytest.mark.parametrize("sampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_scans_of_single_bits_read_back_equal(sampling, size, capfd, monkeypatch):
    monkeypatch.setattr(progressive, "choose_scans", scans_that_leave_bits)
    for quantized in (
        random_quantized(1, *size, sampling),
        photo_integers(*size, sampling, 90),
        filled(*size, sampling),
        filled(*size, sampling, dc=1023, ac=-1023),
    ):
        data = progressive.encode_progressive(quantized)
        assert {scan[5] for scan in scans_of(data)[2:]} == {
            (0, 3), (3, 2), (2, 1), (1, 0)
        }  # fmt: skip
        assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)
        plain = decoded_by_pillow(jpeg_file.encode(quantized))
        np.testing.assert_array_equal(decoded_by_pillow(data), plain)
    assert capfd.readouterr().err == ""


def test_long_runs_between_single_bits_read_back_equal(capfd, monkeypatch):
    """Corrections of 73,683 blocks are between the ends of three runs."""
    monkeypatch.setattr(progressive, "choose_scans", scans_that_leave_bits)
    quantized = filled(72, 65496, "4:2:0")
    luma = quantized.planes[0].reshape(-1, 64)
    luma[::3, 9] = np.arange(len(luma[::3])) % 40 - 20
    luma[10:70000, 40] = 9
    luma[:, 9] *= luma[:, 9] % 16 > 7
    data = progressive.encode_progressive(quantized)
    assert_same_coefficients(jpeg_file.read_coefficients(data), quantized)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("quality", [85, 95, 100])
def test_scans_of_single_bits_are_chosen_where_they_save_bytes(quality, monkeypatch):
    quantized = photo_integers(240, 240, "4:2:0", quality)
    data = progressive.encode_progressive(quantized)
    monkeypatch.setattr(progressive, "choose_scans", choose_bands)
    without = progressive.encode_progressive(quantized)
    assert len(data) <= len(without)
    has_single_bits = any(scan[5][1] for scan in scans_of(data))
    assert (len(data) < len(without)) == has_single_bits
    if quality == 100:
        assert len(data) < 0.995 * len(without)


def test_files_are_smaller_than_the_baseline_and_near_those_of_mozjpeg():
    quantized = photo_integers(300, 300, "4:2:0", 50)
    plain = jpeg_file.encode(quantized)
    searched = mozjpeg_lossless_optimization.optimize(plain)
    size = len(progressive.encode_progressive(quantized))
    assert size < 0.97 * len(plain)
    assert size < 1.01 * len(searched)

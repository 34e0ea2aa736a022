"""Golden numbers of every module that makes those of the evaluation.

`python3 -m tests.evaluation.golden` writes golden.json anew, for versions that have
gone up on purpose: see evaluation/fingerprint.py.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from scipy import ndimage

import conv_blocks
import tensorflow_v1 as tf
from evaluation import fingerprint
from evaluation.operating_points import encoding
from learned_jpeg.codec import distortion_gradient, quantizers, refinement
from learned_jpeg.codec.models import TablesModel
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg import transform
from learned_jpeg.jpeg.file import QuantizedImage
from learned_jpeg.jpeg.standard import ijg_qtables
from learned_jpeg.metrics.image_metrics import measure
from learned_jpeg.models.settings import LossWeights, ModelSettings
from learned_jpeg.pictures import image_files
from learned_jpeg.search import ms_ssim_distortion as distortions
from learned_jpeg.search import passes, tunes
from learned_jpeg.search import ssimulacra2_distortion as perceptual
from learned_jpeg.search.coded_image import CodedImage
from learned_jpeg.search.squared_error import SquaredError
from learned_jpeg.search.visual_distortion import VisualDistortion

PATH = Path(__file__).with_name("golden.json")


def picture(seed=0, height=171, width=166):
    """uint8 RGB, smooth with some noise and full black and white."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (3, 2, 0)) + 0.03 * noise
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)


def quantized():
    """A coded picture whose tables and integers are no symmetric ones."""
    rng = np.random.default_rng(1)
    qtables = rng.integers(3, 60, (8, 8, 2)).transpose(2, 0, 1)
    [dct] = transform.image_to_dct(picture())
    z = dct / transform.of_components(qtables, [0, 1, 2])
    integers = transform.round_to_integers(z)
    return QuantizedImage.of_integers(integers, qtables, 171, 166)


def digest(*arrays):
    """First digits of the SHA-256 of whole numbers, as one number."""
    data = b"".join(np.ascontiguousarray(array, np.int64).tobytes() for array in arrays)
    return [int(hashlib.sha256(data).hexdigest()[:12], 16)]


def bytes_digest(*files):
    return digest(*(np.frombuffer(data, np.uint8) for data in files))


def reading(folder):
    """Pixels of a 16-bit gray, a palette, a transparent and a turned picture."""
    rgb = picture(2, 20, 30)
    gray = rgb[..., 0].astype(np.uint16) * 257
    alpha = np.dstack([rgb, rgb[..., 1]])
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    images = {
        "gray.png": (Image.fromarray(gray), {}),
        "alpha.png": (Image.fromarray(alpha), {}),
        "palette.gif": (Image.fromarray(rgb).quantize(16, dither=0), {}),
        "turned.png": (Image.fromarray(rgb), {"exif": exif, "icc_profile": profile}),
    }
    arrays = []
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
        arrays.append(image_files.read_image(str(folder / name)))
    return digest(*arrays)


def file(folder):
    """Bytes of the codings of libraries, and pixels."""
    coded = quantized()
    plain = jpeg_file.encode(coded)
    trellis = jpeg_file.encode_mozjpeg(picture(), coded.qtables)
    files = [plain, trellis, jpeg_file.encode_rgb(picture(), 30)]
    return bytes_digest(*files) + digest(jpeg_file.decode(plain))


def own_scans(folder):
    """Bytes of the coding that tries our own writer."""
    return bytes_digest(jpeg_file.encode(quantized(), "optimized"))


def metrics(folder):
    """The metrics of an image and its JPEG."""
    data = io.BytesIO()
    Image.fromarray(picture()).save(data, "JPEG", quality=20)
    decoded = jpeg_file.decode(data.getvalue())
    values = measure(picture(), decoded)
    names = ("mse", "psnr", "ms-ssim", "lpips", "ssimulacra2")
    return [values[name] for name in names]


def transformed(folder):
    """Coefficients, and how many are rounded away from 0."""
    [dct] = transform.image_to_dct(picture(3, 24, 33))
    integers = transform.round_to_integers(dct / 16)
    return [*dct[1, 2].ravel()[:12].astype(float), int(np.abs(integers).sum())]


def network(folder):
    """Features of VGG-16, attention and filter with seeded weights."""
    x = picture(4, 40, 48)[np.newaxis] / np.float32(255)
    rng = np.random.default_rng(0)
    with tf.Graph().as_default(), tf.Session() as session:
        attention = conv_blocks.VGGAttention("a", "vgg16", True, "float32")
        edit = conv_blocks.ResConvLayer("e", (4, 4, 4, 4, 6, 6, 3))
        outputs = [attention(tf.constant(x)), edit(tf.constant(x), training=False)]
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            shape = variable.shape.as_list()
            scale = 1 / np.sqrt(np.prod(shape[:-1])) if shape[1:] else 0.1
            values = rng.normal(0, scale, shape).astype(np.float32)
            variable.load(np.abs(values) if "variance" in variable.name else values)
        trunk = conv_blocks.imagenet_weights("vgg16")
        for variable, array in zip(attention.trunk.variables, trunk, strict=True):
            variable.load(array, session)
        return [float(v) for o in session.run(outputs) for v in (o.mean(), o.std())]


def integers(folder):
    """The search for the least squared error, for both kinds of code lengths."""
    numbers = []
    for coding, sampling in (("standard", "4:4:4"), ("optimized", "4:2:0")):
        found, tables = passes.search(
            picture(), SquaredError(0.02), sampling=sampling, entropy_coding=coding
        )
        numbers += [int(np.abs(plane).sum()) for plane in found]
        numbers += [int(tables.sum())]
    return [float(number) for number in numbers]


def forms(folder):
    """Weights and targets of MS-SSIM."""
    coded = CodedImage(picture(), "4:2:0")
    coded.replace(0, np.rint(coded.original(0) / 20).astype(np.float32) * 20)
    distortion = distortions.MsSsimDistortion(picture(), 30.0, 0.005)
    numbers = []
    for component in (1, 2, 0):
        target, weights, _ = distortion.quadratic_model(coded, component, 2.0)
        moved = target - coded.coefficients(component)
        numbers += [float(np.log(weights).mean()), float(np.abs(moved).mean())]
    return numbers


def perceptual_forms(folder):
    """Weights, targets and correlations of SSIMULACRA2."""
    return _forms_of(perceptual.Ssimulacra2Distortion(picture(), 0.05), 4.0)


def visual_forms(folder):
    """Weights, targets and correlations of SSIMULACRA2 with CVVDP."""
    return _forms_of(VisualDistortion(picture(), 0.05), 2.0)


def _forms_of(distortion, damping):
    coded = CodedImage(picture(), "4:2:0")
    numbers = [float(np.log(distortion.weights(coded, c)).mean()) for c in range(3)]
    for component in range(3):
        steps = np.full(64, 20, np.float32)
        integers = np.rint(coded.original(component) / steps).astype(np.int16)
        coded.replace(component, integers, steps)
    for component in (1, 2, 0):
        model = distortion.quadratic_model(coded, component, damping)
        target, weights, coupling = model
        moved = target - coded.original(component)
        numbers += [float(np.log(weights).mean()), float(np.abs(moved).mean())]
        numbers += [float(coupling.std())]
    return numbers


def subsampled(folder):
    """Chroma of a picture at 4:2:0 and 4:2:2, and what is shown of it."""
    numbers = []
    for sampling in ("4:2:0", "4:2:2"):
        coded = CodedImage(picture(), sampling)
        numbers += [float(np.abs(coded.original(1)).mean())]
        numbers += [float(coded.decoded_rgb().std())]
    return numbers


def averaged(folder):
    """Coefficients of averaged chroma, and how many are rounded away from 0."""
    numbers = []
    for sampling in ("4:2:0", "4:2:2"):
        _, chroma = transform.image_to_dct(picture(3, 25, 33), sampling)
        integers = transform.round_to_integers(chroma / 16)
        numbers += [*chroma[1, 1].ravel()[:12].astype(float)]
        numbers += [int(np.abs(integers).sum())]
    return numbers


def searched(folder):
    """The search of models with several losses and tunes."""
    qtables = np.random.default_rng(1).integers(3, 60, (8, 8, 2)).transpose(2, 0, 1)
    model = TablesModel(lambda quality: qtables, "4:2:0")
    numbers = []
    for rate_model, lpips, ms_ssim, tune in (
        ("entropy", 0.0, 0.0, "model"),
        ("entropy", 0.0, 5000.0, "model"),
        ("entropy", 5000.0, 0.0, "model"),
        ("proxy", 0.0, 0.0, "model"),
        ("proxy", 0.0, 0.0, "psnr"),
        ("entropy", 0.0, 0.0, "ms-ssim"),
    ):
        settings = ModelSettings(
            "ljpeg",
            lmbda=0.01,
            rate_model=rate_model,
            weights=LossWeights(lpips=lpips, ms_ssim=ms_ssim),
        )
        own = quantizers.Search(settings, tune, "4:2:0", "optimized", effort=2)
        data = own.for_image(model, picture(), 0)(quantizers.SearchSetting())
        planes = jpeg_file.read_coefficients(data).planes
        numbers += [float(np.abs(plane).sum()) for plane in planes]
    return numbers


def tuned(folder):
    """Lambdas of tables, and what a tune's lambda is worth."""
    numbers = [tunes.lambda_of_tables(ijg_qtables(quality)) for quality in (10, 50, 90)]
    return numbers + [tune.equal_rate for tune in tunes.TUNES.values()]


def refined(folder):
    """Coefficients after a few steps on a quadratic distortion."""
    rng = np.random.default_rng(5)
    z = rng.normal(0, 2, (3, 4, 8, 8, 3)).astype(np.float32)
    qtables = rng.integers(3, 60, (8, 8, 2)).transpose(2, 0, 1)
    dct = z * transform.of_components(qtables, [0, 1, 2])
    bits = np.abs(np.arange(-8, 9, dtype=np.float32)) + np.zeros((192, 1), np.float32)
    found = refinement.refine(z, qtables, lambda x: (x - dct) / 768, bits, 0.1, 5, 768)
    return [float(np.abs(found).mean()), float(np.abs(found - z).mean())]


def gradient(folder):
    """The gradient of MSE with MS-SSIM."""
    [dct] = transform.image_to_dct(picture())
    moved = np.rint(dct / 20) * 20
    weights = LossWeights(ms_ssim=5000.0)
    found = distortion_gradient.DistortionGradient(weights, "float32")(picture(), moved)
    return [float(found.std()), float((found * (moved - dct)).mean())]


# In the order of fingerprint.of: part -> its numbers, a function of a folder.
PARTS = {
    "reading": reading,
    "file": file,
    "metrics": metrics,
    "transform": transformed,
    "network": network,
    "refinement": refined,
    "gradient": gradient,
    "integers": integers,
    "search": searched,
    "tunes": tuned,
    "forms": forms,
    "perceptual": perceptual_forms,
    "visual": visual_forms,
    "planes": subsampled,
    "sampling": averaged,
    "progressive": own_scans,
}


def versions():
    """{part: version} of all parts."""
    found = {}
    for script in ("ljpeg", "ljpeg_attention"):
        own = encoding(
            quantization="search",
            entropy_coding="optimized",
            subsampling="4:2:0",
            tune="visual",
            refine_steps=1,
        )
        settings = {"script": script, **own}
        found |= fingerprint.of(settings)["code"]
        found |= fingerprint.of({**settings, "quantization": "round"})["code"]
    return found


def main():
    """Writes golden.json."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        golden = {
            part: {"version": versions()[part], "numbers": numbers(Path(folder))}
            for part, numbers in PARTS.items()
        }
    PATH.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

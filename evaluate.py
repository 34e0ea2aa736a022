"""Rate-distortion curves of trained models, of JPEG and of the Google baseline.

Every number is of a .jpg file on the disk: its bytes, and its picture as Pillow decodes
it. Results are kept beside the files, see results.py; a second call only plots.
"""

import tensorflow_log

import concurrent.futures
import contextlib
import glob
import logging
import os
import threading
from typing import NamedTuple

import tqdm

import arg_parser
import checkpoints
import hardware
import jpeg_file
import results
from codec import CodecGraphs, Quantization
from compression import plan_outputs
from errors import UserError, run_main
from google_baseline import GoogleBaseline
from image_files import find_images, read_image, write_atomically
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from lpips_tensorflow import MIN_SIDE as LPIPS_MIN_SIDE
from metrics import MS_SSIM_MIN_SIDE, PictureMetrics, bits_per_pixel
from plots import Curve, plot_rate_distortion

logger = logging.getLogger("evaluate")

JPEG_QUALITIES = (*range(1, 10), *range(10, 91, 5))
GOOGLE_QUALITIES = (5, 10, 15, 20, 25)
MODELS = {model.NAME: model for model in (LJPEG, LJPEGAttention, GoogleBaseline)}

# Features of the originals that are kept for the next dot, in bytes; Kodak's 24 take
# 0.85 GB.
REFERENCE_BYTES = 1 << 30

# The sources that make the numbers of a dot, beside the checkpoint.
_CODE = (
    *("checkpoints", "codec", "conv_blocks", "differentiable_jpeg", "evaluate"),
    *("google_baseline", "hardware", "image_files", "image_utils", "jpeg_file"),
    *("ljpeg", "ljpeg_attention", "losses", "metrics", "rate_models", "rdoq"),
    *("distortion_gradient", "encoder_search", "refinement"),
    *(os.path.join(name, "__init__") for name in ("lpips_tensorflow", "weights")),
)
_PACKAGES = (
    *("tensorflow", "tensorflow-compression", "numpy", "numba", "pillow", "jpeglib"),
    "mozjpeg-lossless-optimization",
)


class Dot(NamedTuple):
    """One setting of one codec: a dot of a figure."""

    name: str
    folder: str
    kind: str  # of `plots.Curve`
    curve: str  # label of its curve
    settings: dict
    prefix: str | None = None  # of the checkpoint
    quality: int = 0  # for codecs that take one


def main():
    """Evaluates what the command line names; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = arg_parser.parse_evaluate()
    if not os.path.isdir(args.batch_dir):
        raise UserError(f"--batch_dir {args.batch_dir}: no such folder")
    if any(
        os.path.exists(os.path.join(args.batch_dir, inner, "checkpoint"))
        for inner in ("", "train")
    ):
        raise UserError(
            f"--batch_dir {args.batch_dir}: holds a single checkpoint; name the folder "
            "of a run, or the one that holds the runs"
        )
    hardware.select_device(args.device)
    args.precision, reason = hardware.choose_precision(args.precision)
    logger.info("%s convolutions: %s", args.precision, reason)
    images = TestImages(args.test_image_glob)
    dots, failed = plan_dots(args)
    evaluator = Evaluator(images, args)
    measured = []
    for dot in dots:
        try:
            measured.append((dot, evaluator.evaluate(dot)))
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
    _report(measured, args)
    failed += len(images.unreadable)
    if failed:
        logger.error("%d checkpoints or images failed, see above", failed)
    return 1 if failed else 0


def plan_dots(args):
    """All dots of the command line.

    Returns:
      (list of `Dot`, number of checkpoints that cannot be used).

    Raises:
      UserError: `--google_dir` has no checkpoint of the baseline.
    """
    # Plain JPEG stays plain: it is what the others are measured against.
    coding = {"entropy_coding": args.entropy_coding}
    pil_folder = os.path.join(args.output_dir, "_output_PIL")
    folder = os.path.join(args.output_dir, "_output")
    dots = [
        Dot(f"Q{q}", pil_folder, "jpeg", "JPEG", {**coding, "quality": q}, quality=q)
        for q in JPEG_QUALITIES
    ]
    if args.google_dir is not None:
        try:
            prefix = checkpoints.find_checkpoint(args.google_dir)
        except UserError as error:
            raise UserError(f"--google_dir: {error}") from error
        settings = _model_settings(prefix, GoogleBaseline.NAME, args)
        for q in GOOGLE_QUALITIES:
            own = {**settings, "quality": q}
            name = f"google_Q{q}"
            dots.append(Dot(name, folder, "google", "Google baseline", own, prefix, q))
    failed = 0
    found_dirs = find_lambda_dirs(args.batch_dir)
    known = {run for run, _ in found_dirs}
    for run in args.runs or ():
        if run not in known:
            raise UserError(f"--runs {run}: no such run in {args.batch_dir}")
    for run, lambda_dir in found_dirs:
        if args.runs and run not in args.runs:
            continue
        try:
            prefix = checkpoints.find_checkpoint(lambda_dir)
            found = checkpoints.load_settings(os.path.dirname(prefix)).get("script")
            if found == GoogleBaseline.NAME:
                logger.info("%s: pass it as --google_dir to evaluate it", lambda_dir)
                continue
            settings = _model_settings(prefix, found or args.jpeg_type, args)
            if args.refine_steps and settings["rate_model"] != "entropy":
                logger.info(
                    "%s: left out, --refine_steps needs --rate_model entropy",
                    lambda_dir,
                )
                continue
        except UserError as error:
            logger.error("error: %s", error)
            failed += 1
            continue
        name = f"{run}-{os.path.basename(lambda_dir)}"
        if any(dot.name == name for dot in dots):
            raise UserError(
                f"{lambda_dir}: two folders would be called {name}; rename one run"
            )
        dots.append(Dot(name, folder, "run", run, settings, prefix))
    if not any(dot.kind == "run" for dot in dots):
        logger.warning("%s: no run with lambda_*/train folders there", args.batch_dir)
    return dots, failed


def find_lambda_dirs(batch_dir):
    """(run, folder) of every `lambda_*` folder of a batch, sorted.

    Runs are the folders in `batch_dir` whose names do not start with `_`, and
    `batch_dir` itself.
    """
    root = glob.escape(batch_dir)
    own = os.path.basename(os.path.abspath(batch_dir))
    found = [(own, path) for path in glob.glob(os.path.join(root, "lambda_*"))]
    for path in glob.glob(os.path.join(root, "*", "lambda_*")):
        run = os.path.basename(os.path.dirname(path))
        if not run.startswith(("_", "lambda_")):
            found.append((run, path))
    return sorted(item for item in found if os.path.isdir(item[1]))


def _model_settings(prefix, script, args):
    """What defines a dot of a model, for its record."""
    if script not in MODELS:
        raise UserError(
            f"{prefix}: trained by {script}.py, which evaluate.py does not know"
        )
    saved = vars(checkpoints.model_settings(os.path.dirname(prefix), script))
    names = ("lmbda", "lpips_weight", "msssim_weight", "rate_model")
    names += ("vgg", "freeze_vgg") if script == LJPEGAttention.NAME else ()
    return {
        "script": script,
        "entropy_coding": args.entropy_coding,
        "quantization": args.quantization,
        "refine_steps": args.refine_steps,
        # The tables alone are free of convolutions.
        **({} if script == LJPEG.NAME else {"precision": args.precision}),
        "step": checkpoints.checkpoint_step(prefix),
        **{name: saved[name] for name in names if name in saved},
    }


class TestImages:
    """The test images, in the order of their paths; unreadable ones are reported."""

    def __init__(self, patterns):
        """Finds the images and reads each once.

        Raises:
          UserError: no image, or no readable one.
        """
        self.paths, self.unreadable, self.records = [], [], []
        try:
            found = find_images(patterns)
        except UserError as error:
            raise UserError(f"--test_image_glob: {error}") from error
        for path in found:
            try:
                height, width = read_image(path).shape[:2]
                jpeg_file.check_size(height, width, path)
            except UserError as error:
                logger.error("error: test image left out: %s", error)
                self.unreadable.append(path)
                continue
            self.paths.append(path)
            self.records.append(
                {
                    "name": os.path.basename(path),
                    "height": height,
                    "width": width,
                    "sha256": results.file_sha256(path),
                }
            )
        for name, side in (("MS-SSIM", MS_SSIM_MIN_SIDE), ("LPIPS", LPIPS_MIN_SIDE)):
            small = sum(min(r["height"], r["width"]) < side for r in self.records)
            if small:
                logger.info(
                    "%s is not defined below %d px: nan for %d images, left out of the "
                    "means",
                    name,
                    side,
                    small,
                )
        if not self.paths:
            raise UserError(
                f"--test_image_glob {' '.join(patterns)}: no readable image there"
            )


class Evaluator:
    """Measures dots on the test images, or finds them measured already."""

    def __init__(self, images, args):
        """Takes `TestImages` and the flags; loads nothing yet."""
        self._images = images
        self._args = args
        self._references = ReferenceCache(PictureMetrics(), images)
        self._graphs = CodecGraphs(
            args.precision,
            Quantization(args.quantization, args.entropy_coding, args.refine_steps),
        )
        here = os.path.dirname(os.path.abspath(__file__))
        self._code = results.code_version(
            [os.path.join(here, f"{name}.py") for name in _CODE]
        )
        self._versions = results.library_versions(_PACKAGES)

    def evaluate(self, dot):
        """The `results.DotResults` of one dot.

        Raises:
          UserError: the checkpoint is damaged or of another model; a cached pickle is
            not one of ours.
          OSError: the results cannot be written.
        """
        key = {
            "checkpoint": dot.prefix and checkpoints.checkpoint_hash(dot.prefix),
            "images": self._images.records,
            "settings": dot.settings,
            "code": self._code,
            "versions": self._versions,
        }
        found = results.load(dot.folder, dot.name, key)
        if found is not None:
            return found
        # From here on the .jpg files are other ones than the old results are of.
        results.discard(dot.folder, dot.name)
        with self._encoder(dot) as encode:
            if (
                dot.prefix
                and checkpoints.checkpoint_hash(dot.prefix) != key["checkpoint"]
            ):
                raise UserError(f"{dot.prefix}: has changed just now; try again")
            rows = self._measure_all(dot, encode)
        names = [record["name"] for record in self._images.records]
        measured = results.DotResults.from_rows(names, rows)
        results.save(
            dot.folder,
            dot.name,
            measured,
            key,
            description=_describe(dot, len(names)),
            settings=dot.settings,
            versions=self._versions,
        )
        return measured

    @contextlib.contextmanager
    def _encoder(self, dot):
        """Yields a function from a picture to the bytes of its .jpg file."""
        coding = self._args.entropy_coding
        if dot.prefix is None:
            yield lambda picture: jpeg_file.encode_rgb(picture, dot.quality, coding)
            return
        script = dot.settings["script"]
        with self._graphs.restore(dot.prefix, MODELS, script) as codec:
            yield lambda picture: jpeg_file.encode(
                codec.quantize(picture, dot.quality, coding == "trellis"), coding
            )

    def _measure_all(self, dot, encode):
        """One dict of the five values for each image."""
        folder = os.path.join(dot.folder, dot.name)
        os.makedirs(folder, exist_ok=True)
        paths = self._images.paths
        outputs = plan_outputs(paths, folder)
        with concurrent.futures.ThreadPoolExecutor(self._args.workers) as executor:
            rows = executor.map(
                lambda path, output: self._measure(encode, path, output),
                paths,
                outputs,
            )
            rows = list(
                tqdm.tqdm(
                    rows, dot.name, len(paths), leave=False, unit="image", disable=None
                )
            )
        # What is left is of another set of test images; hidden files may be those that
        # another evaluation is writing at this moment.
        for path in glob.glob(os.path.join(glob.escape(folder), "*")):
            if path not in outputs:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)
        return rows

    def _measure(self, encode, path, output):
        reference = self._references.get(path)
        encoded = encode(reference.original)
        write_atomically(output, encoded)
        with open(output, "rb") as file:
            data = file.read()
        if data != encoded:
            raise UserError(
                f"{output}: changed while it was measured; another evaluation with "
                "other settings writes there, give one of them another --output_dir"
            )
        values = self._references.metrics.compare(reference, jpeg_file.decode(data))
        height, width = reference.original.shape[:2]
        return {"bpp": bits_per_pixel(len(data), height, width), **values}


class ReferenceCache:
    """Originals with their features: the first ones, up to `REFERENCE_BYTES`.

    Every dot goes through the images in the same order, so that keeping the last ones
    would never hit.
    """

    def __init__(self, metrics, images):
        self.metrics = metrics
        self._hashes = {
            path: record["sha256"]
            for path, record in zip(images.paths, images.records, strict=True)
        }
        self._references = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, path):
        """The `metrics.Reference` of an image file.

        Raises:
          UserError: the file is no longer the one that was listed.
        """
        with self._lock:
            if path in self._references:
                return self._references[path]
        reference = self.metrics.reference(read_image(path))
        if results.file_sha256(path) != self._hashes[path]:
            raise UserError(f"{path}: has changed during the evaluation; start again")
        with self._lock:
            if self._size + reference.nbytes <= REFERENCE_BYTES:
                self._references[path] = reference
                self._size += reference.nbytes
        return reference


def _describe(dot, count):
    what = dot.curve if dot.prefix is None else f"{dot.settings['script']}, {dot.name}"
    quality = f", quality {dot.quality}" if dot.quality else ""
    return (
        f"{what}{quality}, 4:4:4, {_encoding(dot.settings)}, {count} images decoded by "
        "Pillow, means of per-image values"
    )


def _encoding(settings):
    """How integers were chosen and coded, in words."""
    coding = settings["entropy_coding"]
    words = [f"{coding} entropy coding"]
    # mozjpeg's trellis is the quantization of its coding.
    if coding != "trellis":
        words.append(f"quantization {settings.get('quantization', 'round')}")
    if settings.get("refine_steps"):
        words.append(f"{settings['refine_steps']} refinement steps a picture")
    return ", ".join(words)


def _report(measured, args):
    """Prints and writes the tables, and draws the figures."""
    curves = {}
    for dot, values in measured:
        points = curves.setdefault((dot.kind, dot.curve), [])
        points.append(values.means())
    summary = {dot.name: values.means() for dot, values in measured}
    runs = {label: points for (kind, label), points in curves.items() if kind != "jpeg"}
    bd_rates = results.bd_rate_table(
        "JPEG of the same coding",
        curves.get(("jpeg", "JPEG"), []),
        runs,
        args.bpp_range,
    )
    encoding = _encoding(vars(args))
    text = (
        f"Models: {encoding}. JPEG: {args.entropy_coding} entropy coding, rounded.\n\n"
        f"{results.summary_table(summary)}\n\n{bd_rates}\n"
    )
    print(text)
    table_path = os.path.join(args.output_dir, "results.md")
    os.makedirs(args.output_dir, exist_ok=True)
    write_atomically(table_path, text.encode(errors="surrogateescape"))
    figures = plot_rate_distortion(
        [Curve(label, points, kind) for (kind, label), points in curves.items()],
        args.output_dir,
        title=encoding,
    )
    print("Written:", *figures, table_path, sep="\n  ")


if __name__ == "__main__":
    run_main(main)

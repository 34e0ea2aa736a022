"""Measurements of training: steps and their parts, precision, batches, the input."""

import contextlib
import dataclasses
import itertools
import os
import time

import tensorflow_v1 as tf
from arg_parser import parse_model
from benchmarks.measuring import in_own_process, interleave, memory_gigabytes, ratio
from conv_blocks import ResConvLayer, VGGTrunk, imagenet_weights
from google_baseline import GoogleBaseline
from learned_jpeg.commands.arguments import PRECISIONS
from ljpeg import LJPEG
from ljpeg_attention import LJPEGAttention
from lpips_tensorflow import lpips
from training import devices, variables
from training.crops import CROPS_PER_VISIT, VISITS_PER_POOL, CropDataset
from training.loop import Trainer
from training.options import TrainOptions

# The settings of the publication, see batch_job_attention.sh.
_FLAGS = ("--lr", "1e-6")
_PUBLISHED_LOSS = ("--rate_model", "proxy")
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_MEMORY_GB = 16.0

_COMPARED_STEPS = 60  # of trainings whose losses are compared
_LOOP_SECONDS = 30.0
_LOOP_STEPS = (4, 64)  # at least, at most


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with its flags, and what its step is made of."""

    model_class: type
    flags: tuple = ()
    network: str | None = None  # the bare network beside it, a key of `_parts`
    has_lpips: bool = False

    def train_options(self, options, **changes):
        """The `TrainOptions` of the command line with some flags changed."""
        common = ["train", "--train_glob", options.train_images, *_FLAGS]
        common += ["--precision", options.precision, *self.flags]
        flags = vars(parse_model(self.model_class, common)) | changes
        return TrainOptions.of_flags(self.model_class.NAME, flags)


CASES = {
    "ljpeg": Case(LJPEG, _PUBLISHED_LOSS),
    "ljpeg, LPIPS": Case(
        LJPEG,
        (*_PUBLISHED_LOSS, "--lpips_weight", "500"),
        has_lpips=True,
    ),
    "ljpeg_attention": Case(
        LJPEGAttention,
        _PUBLISHED_LOSS,
        network="VGG trunk, trained",
    ),
    "ljpeg_attention, frozen VGG": Case(
        LJPEGAttention,
        (*_PUBLISHED_LOSS, "--freeze_vgg"),
        network="VGG trunk, forward",
    ),
    "google_baseline": Case(
        GoogleBaseline,
        ("--patchsize", "256", "--batchsize", "8"),
        network="ResConvLayer",
    ),
}


def step(options):
    """Training steps."""
    parts = _parts(options.precision)
    with contextlib.ExitStack() as stack:
        batch = _first_batch(options)
        functions = {name: stack.enter_context(p(batch)) for name, p in parts.items()}
        for name, case in CASES.items():
            functions[name] = stack.enter_context(
                _step(case.train_options(options), case, batch)
            )
        timings = interleave(functions, options, "step")
    loops = {
        name: _loop(case, options, timings[name].median) for name, case in CASES.items()
    }
    rows = [_step_row(name, timings, loops[name]) for name in CASES]
    rows += [{"case": f"{name} alone", **_speed(timings[name])} for name in parts]
    frozen = ratio(timings["ljpeg_attention, frozen VGG"], timings["ljpeg_attention"])
    return rows, [f"Step with frozen over step with trained VGG: {frozen:.2f}"]


def _step_row(name, timings, loop):
    case, timing = CASES[name], timings[name]
    shares = {
        "pipeline share": "ljpeg",
        "network share": case.network,
        "LPIPS share": "LPIPS" if case.has_lpips else None,
    }
    shares = {
        key: part and ratio(timings[part], timing) for key, part in shares.items()
    }
    network = shares["network share"]
    return {
        "case": name,
        **_speed(timing),
        **shares,
        "rest share": 1 - sum(filter(None, shares.values())),
        "step / network": 1 / network if network else None,
        **loop,
    }


def _speed(timing):
    images = _batchsize() / timing.median
    return {"ms": timing.ms, "images/s": images, **timing.checks}


def _batchsize():
    return parse_model(LJPEG, ["train"]).batchsize


def _first_batch(options, **changes):
    """Returns a batch of real crops, `[b, 256, 256, 3]`, uint8."""
    with contextlib.closing(_dataset(options, **changes).batches()) as batches:
        return next(batches)


def _dataset(options, batchsize=None):
    args = CASES["ljpeg"].train_options(options)
    return CropDataset(
        args.train_glob,
        batchsize or args.batchsize,
        args.patchsize,
        args.preprocess_threads,
        args.seed,
    )


@contextlib.contextmanager
def _step(args, case, batch):
    """Yields a function that runs one step as the training loop runs it."""
    with tf.Graph().as_default() as graph:
        trainer = Trainer(case.model_class, args)
        config = devices.session_config()
        with tf.Session(graph=graph, config=config) as session:
            trainer.initialize(session, None)
            fetches = [trainer.train_op, trainer.graph.loss]
            yield lambda: session.run(fetches, {trainer.pixels: batch})


def _parts(precision):
    """Returns networks and losses alone: `{name: function of a batch}`, see `_part`."""
    dtype = tf.as_dtype(precision)

    def trunk(x, trainable):
        network = VGGTrunk("trunk", trainable=trainable, dtype=dtype)
        return network(x), (network.variables, imagenet_weights("vgg16"))

    def res_conv_layer(x):
        return ResConvLayer("editor", dtype=dtype)(x, training=True), ((), ())

    def gradient_of_lpips(x):
        x_tilde = 0.9 * x
        distance = lpips(x, x_tilde, dtype=dtype)
        return tf.gradients(distance, x_tilde)[0], ((), ())

    return {
        "VGG trunk, trained": lambda batch: _part(lambda x: trunk(x, True), batch),
        "VGG trunk, forward": lambda batch: _part(lambda x: trunk(x, False), batch),
        "ResConvLayer": lambda batch: _part(res_conv_layer, batch),
        "LPIPS": lambda batch: _part(gradient_of_lpips, batch),
    }


@contextlib.contextmanager
def _part(build, batch):
    """Yields a function that runs a part: forward, and a step of Adam if it can learn.

    `build` maps a batch of images to an output and (variables, pretrained weights).
    """
    with tf.Graph().as_default() as graph:
        pixels = tf.placeholder(tf.uint8, batch.shape)
        output, pretrained = build(tf.cast(pixels, tf.float32) / 255.0)
        fetch = output.op  # The operation: its output is not copied out of the graph.
        if tf.trainable_variables():
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
                loss = tf.reduce_mean(tf.square(output))
                fetch = tf.train.AdamOptimizer(1e-6).minimize(loss)
        with tf.Session(graph=graph, config=devices.session_config()) as session:
            session.run(tf.global_variables_initializer())
            variables.assign(session, *pretrained)
            yield lambda: session.run(fetch, {pixels: batch})


class _WatchedDataset:
    """A `CropDataset` that notes when the loop asks for a batch and when it gets it."""

    def __init__(self, dataset):
        self._dataset = dataset
        self.asked, self.given = [], []

    def batches(self, start):
        """Yields the batches of the dataset."""
        with contextlib.closing(self._dataset.batches(start)) as batches:
            while True:
                self.asked.append(time.perf_counter())
                batch = next(batches)
                self.given.append(time.perf_counter())
                yield batch


def _loop(case, options, step_seconds):
    """Runs the real training loop; returns the columns on it.

    The first step is left out: it fills the buffer and writes a summary.
    """
    fewest, most = _LOOP_STEPS
    steps = max(fewest, min(most, int(_LOOP_SECONDS / step_seconds)))
    if options.quick:
        steps = 1
    folder = os.path.join(options.folder, "loop")
    args = case.train_options(options, last_step=steps + 1, checkpoint_dir=folder)
    dataset = _WatchedDataset(_dataset(options))
    with tf.Graph().as_default():
        Trainer(case.model_class, args).run(dataset, None)
    asked, given = dataset.asked[1 : steps + 2], dataset.given[1 : steps + 1]
    total = asked[-1] - asked[0]
    waiting = sum(b - a for a, b in zip(asked, given, strict=False))
    return {
        "loop ms": 1000 * total / steps,
        "loop steps": steps,
        "waiting share": waiting / total,
    }


def input_pipeline(options):
    """Input pipeline alone, 256 px crops."""
    dataset = _dataset(options)
    pool = VISITS_PER_POOL * CROPS_PER_VISIT
    size = _batchsize()
    with contextlib.closing(dataset.batches()) as batches:

        def read_a_pool():
            for _ in itertools.islice(batches, pool // size):
                pass

        timing = interleave({"pool": read_a_pool}, options, "input")["pool"]
        batch = next(batches)
    seconds = timing.median / pool
    case = CASES["ljpeg"]
    with _step(case.train_options(options), case, batch) as run:
        fastest = interleave({"step": run}, options, "input, ljpeg")["step"]
    row = {
        "case": f"CropDataset, {len(dataset.paths)} images",
        "crops/s": 1 / seconds,
        **timing.checks,
        "crops/s that ljpeg takes": size / fastest.median,
        "made / taken": fastest.median / size / seconds,
    }
    return [row], []


def frozen_trunk(options):
    """Frozen trunk: run in every step, or features of whole images computed once."""
    case = CASES["ljpeg_attention, frozen VGG"]
    cache = os.path.join(options.folder, "features")
    with contextlib.ExitStack() as stack:
        known = _FrozenTraining(stack, case, options, feature_cache=cache)
        dataset = _dataset(options)
        known.trainer.prepare(dataset, known.session)
        batches = stack.enter_context(contextlib.closing(dataset.batches()))
        start = time.perf_counter()
        batch = next(batches)
        first = time.perf_counter() - start
        plain = _FrozenTraining(stack, case, options)
        functions = {
            "trunk in every step": lambda: plain.step(batch[0]),
            "cached features": lambda: known.step(batch),
        }
        timings = interleave(functions, options, "frozen trunk")
        steps = 1 if options.quick else _COMPARED_STEPS
        losses = _losses_of(plain, known, batches, steps)
    today = timings["trunk in every step"]
    rows = [
        {
            "case": name,
            **_speed(timing),
            "times as fast": ratio(today, timing),
            f"loss, mean of steps {steps // 2 + 1}..{steps}": loss,
        }
        for (name, timing), loss in zip(timings.items(), losses, strict=True)
    ]
    size = sum(entry.stat().st_size for entry in os.scandir(cache))
    return rows, [
        f"Features of {len(os.listdir(cache))} images and mirror images: "
        f"{size / 1e6:.0f} MB, computed in {first:.1f} s before the first batch"
    ]


class _FrozenTraining:
    """A training with a frozen trunk in a graph and session of its own."""

    def __init__(self, stack, case, options, **changes):
        graph = tf.Graph()
        with graph.as_default():
            flags = {"lr": 1e-3, "table_init": 50, "table_lr": 1e-5, **changes}
            own = case.train_options(options, **flags)
            self.trainer = Trainer(case.model_class, own)
        config = devices.session_config()
        self.session = stack.enter_context(tf.Session(graph=graph, config=config))
        with graph.as_default():
            self.initialize()

    def initialize(self):
        """Returns to the start of the training."""
        self.trainer.initialize(self.session, None)

    def step(self, batch):
        """Trains by a batch; returns its loss."""
        fetches = [self.trainer.graph.loss, self.trainer.train_op]
        return self.session.run(fetches, self.trainer.feeds(batch))[0]


def _losses_of(plain, known, batches, steps):
    """Returns mean losses of the second half of two trainings on the same crops."""
    for training in (plain, known):
        with training.session.graph.as_default():
            training.initialize()
    pairs = [
        (plain.step(batch[0]), known.step(batch))
        for batch in itertools.islice(batches, steps)
    ]
    half = pairs[len(pairs) // 2 :]
    return [sum(losses) / len(half) for losses in zip(*half, strict=True)]


def precision(options):
    """Precision of the convolutions, step of ljpeg_attention."""
    case = CASES["ljpeg_attention"]
    batch = _first_batch(options)
    with contextlib.ExitStack() as stack:
        functions = {
            name: stack.enter_context(
                _step(case.train_options(options, precision=name), case, batch)
            )
            for name in PRECISIONS
        }
        timings = interleave(functions, options, "precision")
    rows = [
        {
            "case": name,
            "ms": timing.ms,
            **timing.checks,
            "speed / float32": ratio(timings["float32"], timing),
        }
        for name, timing in timings.items()
    ]
    return rows, []


def batch_size(options):
    """Batch size, step of ljpeg_attention."""
    rows, notes = [], []
    limit = min(BATCH_MEMORY_GB, memory_gigabytes()[1])
    for size in BATCH_SIZES[: 2 if options.quick else None]:
        if rows and _predicted_gb(rows) > limit:
            notes.append(
                f"Batch {size} left out: it would take {_predicted_gb(rows):.0f} GB "
                f"of the {limit:.0f} GB allowed"
            )
            break
        timing, peak = in_own_process(_time_batch, options, size)
        row = {
            "case": f"batch {size}",
            "ms": timing.ms,
            "ms/image": timing.ms / size,
            **timing.checks,
            "peak MB": peak,
        }
        first = rows[0] if rows else row
        row["ms/image / that of batch 1"] = row["ms/image"] / first["ms/image"]
        rows.append(row)
    return rows, notes


def _predicted_gb(rows):
    """Predicts the peak memory of twice the batch, linear through the last two."""
    peaks = [row["peak MB"] / 1000 for row in rows[-2:]]
    growth = peaks[-1] if len(peaks) == 1 else 2 * (peaks[1] - peaks[0])
    return peaks[-1] + growth


def _time_batch(options, size):
    case = CASES["ljpeg_attention"]
    batch = _first_batch(options, batchsize=size)
    with _step(case.train_options(options, batchsize=size), case, batch) as run:
        return interleave({"step": run}, options, f"batch {size}")["step"]

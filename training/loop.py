"""The training loop of every model: schedule, checkpoints, summaries, resuming."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import os
import signal
import time

import numpy as np

import conv_blocks
import tensorflow_v1 as tf
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.progress import progress
from learned_jpeg.common.terminal import log_to_stderr
from learned_jpeg.models import folders
from learned_jpeg.models.contract import Tensor, TrainableModel, TrunkModel
from learned_jpeg.models.settings import WEIGHT_KEYS
from learned_jpeg.pictures.strips import in_strips
from lpips_tensorflow import MIN_SIDE as LPIPS_MIN_SIDE
from lpips_tensorflow import lpips
from training import checkpoints, devices, variables
from training.crops import CropDataset
from training.differentiable import LearnedTables
from training.feature_cache import FeatureCache
from training.losses import weighted_terms
from training.options import TrainOptions
from training.summaries import Summaries

logger = logging.getLogger(__name__)

DECAY_STEPS = 10000
CHECKPOINT_SECONDS = 180
SUMMARY_STEPS = 100  # of a long training
SUMMARY_IMAGES = 4


def train(model_class: type[TrainableModel], args: argparse.Namespace) -> int:
    """Trains a model up to `--last_step`, or goes on where a training stopped.

    Args:
      model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
      args: flags of the `train` command.

    Returns:
      Exit status: 0, or 128 + the number of the signal that ended the training.

    Raises:
      UserError: no usable training image, flags that contradict the checkpoint.
    """
    log_to_stderr()
    devices.select_device(args.device)
    precision, reason = devices.choose_precision(args.precision)
    logger.info("%s convolutions: %s", precision, reason)
    flags = {**vars(args), "precision": precision}
    options = TrainOptions.of_flags(model_class.NAME, flags)
    prefix = folders.latest_checkpoint(options.checkpoint_dir)
    # Settings that a run left without a checkpoint are ignored.
    if prefix:
        for line in checkpoints.check_resume(options.checkpoint_dir, options.record):
            logger.warning("%s", line)
    if prefix and folders.checkpoint_step(prefix) >= options.last_step:
        logger.info("%s: already at --last_step %d", prefix, options.last_step)
        return 0
    _check_patchsize(options)
    dataset = CropDataset(
        options.train_glob,
        options.batchsize,
        options.patchsize,
        options.preprocess_threads,
        options.seed,
    )
    with checkpoints.locked(options.checkpoint_dir), tf.Graph().as_default():
        checkpoints.save_record(options.checkpoint_dir, options.record)
        trainer = Trainer(model_class, options)
        return trainer.run(dataset, prefix)


def _check_patchsize(options):
    """Refuses crops that a distortion of the loss is not defined for."""
    for name, (_, term) in weighted_terms(options.settings.weights).items():
        if options.patchsize < term.min_side:
            raise UserError(
                f"--patchsize {options.patchsize}: {term.title} "
                f"(--{WEIGHT_KEYS[name]}) needs crops of at least {term.min_side} px"
            )


class Trainer:
    """Graph, session and loop of one training."""

    def __init__(self, model_class: type[TrainableModel], options: TrainOptions):
        """Builds the training graph in the default graph."""
        self._options = options
        tf.set_random_seed(options.seed)
        dtype = tf.as_dtype(options.precision)
        self._global_step = tf.train.get_or_create_global_step()
        self._model = model_class(options.settings, dtype)
        shape = [options.batchsize, options.patchsize, options.patchsize, 3]
        self.pixels = tf.placeholder(tf.uint8, shape)
        self._x = tf.cast(self.pixels, tf.float32) / 255.0
        # 16 seeds a step, for a model to draw from.
        seed = tf.stack([options.seed, 16 * tf.cast(self._global_step, tf.int32)])
        self._features = None
        if options.feature_cache:
            self._features = CachedFeatures(self._model, options)
        known = {"features": self._features.batch} if self._features else {}
        self.graph = self._model.training_graph(self._x, seed, **known)
        self.learning_rate = learning_rate(options.lr, options, self._global_step)
        self.train_op = self._minimize()
        self._finite = tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(v)) for v in tf.trainable_variables()]
        )
        self._summaries = self._summary_tensors(dtype)
        self._variables = variables.saved_variables(self._model)
        # Without a number it removes nothing: it would look for old files by a pattern.
        self._saver = variables.saver(self._variables, max_to_keep=None)
        self._last_prefix = None

    def _minimize(self):
        """Builds one Adam for each kind of variables, each at its own learning rate."""
        options, step = self._options, self._global_step
        trained = tf.trainable_variables()
        gradients = tf.gradients(self.graph.loss, trained)
        kinds = {}
        for variable, gradient in zip(trained, gradients, strict=True):
            kinds.setdefault(_kind(variable), []).append((gradient, variable))
        rates = {
            "network": options.lr,
            "tables": options.table_lr or options.lr,
            "rate_model": options.rate_lr or 10 * options.lr,
        }
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        # No variable moves while the loss or another one's gradient is computed.
        computed = [self.graph.loss, *(g for g in gradients if g is not None)]
        with tf.control_dependencies(computed):
            for kind, pairs in kinds.items():
                rate = learning_rate(rates[kind], options, step)
                optimizer = tf.train.AdamOptimizer(rate)
                updates.append(optimizer.apply_gradients(pairs))
        with tf.control_dependencies(updates):
            return tf.assign_add(step, 1)

    def initialize(self, session: tf.Session, prefix: str | None) -> None:
        """Sets every variable: from the checkpoint `prefix`, or anew if it is None."""
        session.run(tf.global_variables_initializer())
        variables.load_pretrained(session, self._model, frozen_only=bool(prefix))
        if prefix:
            variables.restore(session, self._variables, prefix)
            self._last_prefix = prefix  # To be replaced as well.

    def feeds(self, batch) -> dict:
        """Returns the values that a session is fed with for a batch of the dataset."""
        if self._features is None:
            return {self.pixels: batch}
        pixels, features = batch
        return {self.pixels: pixels, self._features.fed: features}

    def prepare(self, dataset: CropDataset, session: tf.Session) -> None:
        """Gives a dataset the features that the graph needs with the crops."""
        if self._features:
            dataset.features = self._features.cache(session).of

    def run(self, dataset: CropDataset, prefix: str | None) -> int:
        """Trains; returns the exit status."""
        options = self._options
        config = devices.session_config()
        sampling = options.settings.subsampling
        with (
            tf.Session(config=config) as session,
            Summaries(options.checkpoint_dir, self._summaries, sampling) as summaries,
            StopSignals() as stop,
        ):
            self.initialize(session, prefix)
            self.prepare(dataset, session)
            start = step = session.run(self._global_step)
            logger.info(
                "%s step %d of %d; checkpoints and TensorBoard's events in %s",
                "Going on from" if prefix else "Starting at",
                start,
                options.last_step,
                options.checkpoint_dir,
            )
            saved_at = time.monotonic()
            batches = dataset.batches(start)
            losses = []  # since the last summary
            # The first step waits for what it compiles.
            steps = progress(options.last_step, "step", initial=start, warm_up=1)
            with contextlib.closing(batches), steps as shown:
                while step < options.last_step and not stop.signal:
                    feeds = self.feeds(self._next(batches, session, step > start))
                    if step % summary_steps(options.last_step) == 0:
                        summaries.add(session, feeds, step, losses)
                        losses = []
                    _, loss = session.run([self.train_op, self.graph.loss], feeds)
                    if not np.isfinite(loss):
                        raise UserError(
                            f"the loss is {loss} at step {step}; lower --lr or the "
                            f"weights of the loss; {self._what_is_left()}"
                        )
                    losses.append(loss)
                    step += 1
                    shown.update(note=f"loss {loss:.4g}")
                    if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                        self._save(session)
                        saved_at = time.monotonic()
                if step > start:
                    self._save(session)
                    feeds = self.feeds(next(batches))
                    summaries.add(session, feeds, step, losses)
        return self._report(step, stop.signal)

    def _next(self, batches, session, is_trained):
        """Returns the next batch; if there is none, saves what was trained."""
        try:
            return next(batches)
        except UserError:
            if is_trained:
                self._save(session)
            raise

    def _what_is_left(self):
        folder = self._options.checkpoint_dir
        if folders.latest_checkpoint(folder):
            return f"the last checkpoint in {folder} is still good"
        return "nothing was saved yet"

    def _save(self, session):
        path = os.path.join(self._options.checkpoint_dir, checkpoints.CHECKPOINT_NAME)
        # A gradient may be nan where the loss before it was not yet.
        if not session.run(self._finite):
            raise UserError(
                f"a weight is not finite at step {session.run(self._global_step)}; "
                f"lower --lr or the weights of the loss; {self._what_is_left()}"
            )
        try:
            prefix = self._saver.save(
                session, path, self._global_step, write_meta_graph=False
            )
        except tf.errors.OpError as error:
            raise UserError(
                f"{path}: cannot be written, is the disk full? Free some space, then "
                "the same command goes on from the last checkpoint"
            ) from error
        if self._model.tables:
            saved = session.run(self._model.tables.variable)
            qtables = LearnedTables.integers_of(saved)
            folders.save_qtables(prefix, self._model.NAME, qtables)
        if self._last_prefix not in (None, prefix):
            checkpoints.remove(self._last_prefix)
        self._last_prefix = prefix

    def _report(self, step, stop_signal):
        saved = folders.latest_checkpoint(self._options.checkpoint_dir)
        if not stop_signal:
            logger.info("Done: step %d saved as %s", step, saved)
            return 0
        if saved:
            logger.info("Stopped; the same command goes on from %s", saved)
        else:
            logger.info("Stopped before the first step; nothing was saved")
        return 128 + stop_signal

    def _summary_tensors(self, dtype):
        """Collects the tensors of a summary, for a single run of the session."""
        graph = self.graph
        scalars = {"loss": graph.loss, "learning_rate": self.learning_rate}
        scalars.update({f"loss_terms/{k}": v for k, v in graph.terms.items()})
        if "lpips" not in graph.terms and self._options.patchsize >= LPIPS_MIN_SIDE:
            distance = tf.reduce_mean(lpips(self._x, graph.x_tilde, dtype=dtype))
            scalars["loss_terms/lpips"] = distance
        images = {"original": self._x, "reconstruction": graph.x_tilde}
        images = {k: v[:SUMMARY_IMAGES] for k, v in images.items()}
        for name, values in graph.maps.items():
            values = values[:SUMMARY_IMAGES]
            size = 8 * tf.shape(values)[1:3]
            images[name] = tf.image.resize_nearest_neighbor(values, size)
        return {
            "scalars": scalars,
            "images": {
                k: tf.cast(tf.round(255 * v), tf.uint8) for k, v in images.items()
            },
            "integers": [
                tf.cast(own[:SUMMARY_IMAGES], tf.int16) for own in graph.coded.integers
            ],
            "qtables": tf.cast(graph.coded.qtables, tf.uint8),
        }


def summary_steps(last_step: int) -> int:
    """Returns the steps between two summaries: a short training has twenty of them."""
    return min(SUMMARY_STEPS, max(10, last_step // 20))


class CachedFeatures:
    """The features of a frozen trunk: of whole images, and in the graph of a batch.

    Whole images, so that a crop sees its surroundings, as it does at encoding.
    """

    def __init__(self, model: TrunkModel, options: TrainOptions):
        """Builds the graph in the default graph."""
        self._options = options
        self._trunk = model.frozen
        self._image = tf.placeholder(tf.uint8, [None, None, 3])
        x = tf.cast(self._image, tf.float32)[tf.newaxis] / 255.0
        self._of_image = model.features(x)[0]
        side = options.patchsize // 8
        shape = [options.batchsize, side, side, self._of_image.shape[-1]]
        self.fed = tf.placeholder(tf.float16, shape)
        self.batch = tf.cast(self.fed, tf.float32)

    def cache(self, session: tf.Session) -> FeatureCache:
        """Returns the `FeatureCache` of an initialized session."""

        def compute(image):
            [features], _ = in_strips(
                lambda s: ([session.run(self._of_image, {self._image: s})], None),
                image,
                [8],
            )
            return features

        version = hashlib.sha256(
            f"{self._options.precision} {conv_blocks.NUMBERS_VERSION}".encode()
        )
        for array in session.run(self._trunk):
            version.update(array)
        return FeatureCache(self._options.feature_cache, compute, version.digest())


def _kind(variable):
    """Returns the kind of a variable; each kind has its own learning rate."""
    if variable.op.name == LearnedTables.NAME:
        return "tables"
    return "rate_model" if variable.op.name.startswith("rate_model/") else "network"


def learning_rate(initial: float, options: TrainOptions, step: Tensor) -> Tensor:
    """Returns the learning rate at a global step, so that a resume keeps it.

    `initial * lr_decay ** (step // 10000)`, or with `--lr_schedule cosine` half a
    period of the cosine, from `initial` to 0 at `--last_step`.
    """
    if options.lr_schedule == "cosine":
        return tf.train.cosine_decay(initial, step, options.last_step)
    return tf.train.exponential_decay(
        initial, step, DECAY_STEPS, options.lr_decay, staircase=True
    )


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a flag, so that a step ends and is saved."""

    def __init__(self):
        """Catches nothing yet."""
        self.signal: int | None = None

    def __enter__(self):
        """Starts to catch signals."""
        signals = (signal.SIGINT, signal.SIGTERM)
        self._previous = {s: signal.signal(s, self._handle) for s in signals}
        return self

    def _handle(self, number, frame):
        del frame
        self.signal = int(number)
        # A second one ends the process at once.
        signal.signal(number, self._previous[number])

    def __exit__(self, *error):
        """Leaves signals to whoever had them before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

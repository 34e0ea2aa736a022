"""The contract between a model script and the rest of the project.

To add a model, write a script with a class that follows `Model`, and add one line to
`MODELS`. The command line, training, encoding and evaluation read the rest from the
class: its `NAME` and its `TRAITS`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from learned_jpeg.common.errors import UserError
from learned_jpeg.models.settings import ModelSettings

# Tensors and variables of the graph. TensorFlow is not imported for their types.
Tensor: TypeAlias = Any
DType: TypeAlias = Any


class ModelEntry(NamedTuple):
    """Where a model is defined.

    Attributes:
      script: module of the model script.
      class_name: class in that module.
      tables_only: whether quantization tables are all that the model has. Such a model
        codes images without its script and without TensorFlow.
    """

    script: str
    class_name: str
    tables_only: bool = False


# Every model of the project, by its NAME. A new model adds one line.
MODELS = {
    "ljpeg": ModelEntry("ljpeg", "LJPEG", tables_only=True),
    "ljpeg_attention": ModelEntry("ljpeg_attention", "LJPEGAttention"),
    "ljpeg_PIL": ModelEntry("ljpeg_PIL", "StandardJPEG", tables_only=True),
    "google_baseline": ModelEntry("google_baseline", "GoogleBaseline"),
}


@dataclass(frozen=True)
class Traits:
    """The properties of a model that decide which flags and commands it has.

    Attributes:
      description: what the model is, for `--help`.
      is_trained: whether the model has checkpoints. Without them it has no `train`
        command and no `--checkpoint_dir`.
      default_quality: default of `--quality` for a model that uses the standard's
        tables at a quality. None for a model with learned tables.
      rate_models: choices of `--rate_model`, the first one is the default. Empty for a
        model that has a loss of its own and none of the loss flags.
      has_network: whether the model edits images by convolutions, so that `compress`
        has `--precision`.
      has_trunk: whether the network stands on a VGG trunk, with the flags `--vgg`,
        `--freeze_vgg` and `--feature_cache`.
      has_maps: whether the evaluation draws how much detail of each block the network
        keeps.
      searches_without_checkpoint: whether `compress` without `--checkpoint_dir` runs
        the search without a model.
    """

    description: str
    is_trained: bool = True
    default_quality: int | None = None
    rate_models: tuple[str, ...] = ()
    has_network: bool = False
    has_trunk: bool = False
    has_maps: bool = False
    searches_without_checkpoint: bool = False

    @property
    def takes_quality(self) -> bool:
        """True if the quantization tables follow from a quality in 1..100."""
        return self.default_quality is not None

    @property
    def has_export(self) -> bool:
        """True if the model has tables of its own or nothing but tables."""
        return not (self.takes_quality and self.has_network)


class Coded(NamedTuple):
    """A batch of images as a file will hold it.

    Attributes:
      integers: list of `[b, rows, cols, 8, 8, c]`, float32 with integer values.
      qtables: `[8 (v), 8 (u), 2 (luma, chroma)]`, float32 with integer values 1..255.
      dct: list shaped as `integers`, the (edited) coefficients before rounding.
      edited: `[b, h, w, 3]`, RGB in [0, 1] before quantization.
    """

    integers: list[Tensor]
    qtables: Tensor
    dct: list[Tensor]
    edited: Tensor


class TrainingGraph(NamedTuple):
    """The tensors that a model gives to the training loop.

    Attributes:
      loss: scalar that the training minimises.
      terms: scalars of the loss by name, for TensorBoard.
      x_tilde: decoded batch `[b, h, w, 3]`, RGB in [0, 1].
      coded: the batch as files hold it, for the rates in TensorBoard.
      maps: `[b, rows, cols, 1]` in [0, 1] by name, for TensorBoard.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    x_tilde: Tensor
    coded: Coded
    maps: dict[str, Tensor]


class Tables(Protocol):
    """Learned quantization tables."""

    @property
    def variable(self) -> Tensor:
        """The TensorFlow variable that checkpoints hold."""
        ...


class Model(Protocol):
    """A model: its variables, how it codes images, and its loss.

    An instance belongs to the default graph at the time of its creation.

    Attributes:
      NAME: name of the script without `.py`, as settings.json has it.
      TRAITS: what the command line and the evaluation have to know.
      tables: learned tables, or None.
      pretrained: pairs of variables and a function that loads the arrays that they
        start from.
      frozen: pretrained variables that are not trained. Checkpoints leave them out.
    """

    NAME: ClassVar[str]
    TRAITS: ClassVar[Traits]
    tables: Tables | None
    pretrained: Sequence[tuple[Sequence[Tensor], Callable[[], Sequence[Any]]]]
    frozen: Sequence[Tensor]

    def __init__(self, settings: ModelSettings, dtype: DType):
        """Creates the variables.

        Args:
          settings: how the model is trained, or was.
          dtype: tf.float32 or tf.bfloat16, of the convolutions.
        """

    def code(self, x: Tensor, quality: Tensor = None) -> Coded:
        """Codes a batch.

        Args:
          x: `[b, h, w, 3]`, RGB in [0, 1], of any size.
          quality: int or scalar int32 tensor, 1..100. Models with learned tables ignore
            it.
        """
        ...


class TrainableModel(Model, Protocol):
    """A model with `TRAITS.is_trained`."""

    def training_graph(self, x: Tensor, seed: Tensor) -> TrainingGraph:
        """Builds the loss on a batch.

        Args:
          x: `[b, h, w, 3]`, RGB in [0, 1].
          seed: int32 tensor `[2]`, another one in each step, for random numbers. The
            model may use the 16 seeds from `seed` to `seed + [0, 15]`.
        """
        ...


class TrunkModel(TrainableModel, Protocol):
    """A model with `TRAITS.has_trunk`: its features can be computed beforehand."""

    def features(self, x: Tensor) -> Tensor:
        """Returns the trunk's features of a batch, `[b, rows, cols, channels]`.

        Args:
          x: `[b, h, w, 3]`, RGB in [0, 1].
        """
        ...

    def training_graph(
        self, x: Tensor, seed: Tensor, features: Tensor = None
    ) -> TrainingGraph:
        """Builds the loss as `TrainableModel` does; `features` are those of `x`."""
        ...


@contextlib.contextmanager
def _unchanged_process() -> Iterator[None]:
    """Undoes what a script, which is a command as well, changes of its process."""
    hook, variables = sys.excepthook, dict(os.environ)
    try:
        yield
    finally:
        sys.excepthook = hook
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]


def load_model_class(name: str) -> type[Model]:
    """Imports the script of a model and returns its class.

    Args:
      name: a key of `MODELS`.

    Raises:
      UserError: the model is unknown, or its script cannot be imported.
    """
    if name not in MODELS:
        raise UserError(f"{name}: no such model; choose one of {', '.join(MODELS)}")
    entry = MODELS[name]
    try:
        with _unchanged_process():
            module = importlib.import_module(entry.script)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name}.py: cannot be imported (no module {error.name}); models with a "
            'network need a clone of the repository and pip install ".[train]"'
        ) from error
    return getattr(module, entry.class_name)

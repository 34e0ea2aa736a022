"""The variables of models: saving, restoring, and pretrained values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

import tensorflow_v1 as tf
from learned_jpeg.common.errors import UserError
from learned_jpeg.models import folders
from learned_jpeg.models.contract import MODELS, Model, Tensor
from learned_jpeg.models.settings import ModelSettings
from training import checkpoints
from training.differentiable import LearnedTables

# The optimizer's, and others that coding does without: the step, and the entropy
# model, which only a refinement needs.
OPTIMIZER = re.compile(r"/Adam(_1)?$|^beta[12]_power(_\d)?$")
_NOT_OF_THE_MODEL = re.compile(r"^global_step$|^rate_model/")


def saver(variables: Sequence[Tensor], **options) -> tf.train.Saver:
    """Makes a Saver whose folders may be moved, since their paths are relative."""
    return tf.train.Saver(variables, save_relative_paths=True, **options)


def restore(
    session: tf.Session, variables: Sequence[Tensor], prefix: str | None
) -> None:
    """Restores `variables` from the checkpoint `prefix`.

    The only other variables that the checkpoint may hold are those of a training:
    attention that is restored as mere tables would be another codec.

    Raises:
      UserError: the checkpoint is damaged, of another model, or not finite.
    """
    if not variables:
        return
    with reading(prefix):
        saved = _restore(session, variables, prefix)
        _refuse_unknown(saved)


def _refuse_unknown(names):
    """Raises NotFoundError if one is of neither a model nor a training."""
    unknown = [
        n for n in names if not (OPTIMIZER.search(n) or _NOT_OF_THE_MODEL.search(n))
    ]
    if unknown:
        raise tf.errors.NotFoundError(None, None, f"unknown variables: {unknown}")


def restore_some(session: tf.Session, variables: Sequence[Tensor], prefix: str) -> None:
    """Restores `variables` from a checkpoint that may hold any others.

    Raises:
      UserError: the checkpoint is damaged, or does not hold them.
    """
    with reading(prefix):
        _restore(session, variables, prefix)


def _restore(session, variables, prefix):
    """Restores `variables`; returns the shapes of the others, by name."""
    with checkpoints.literal_prefix(prefix) as literal:
        saver(variables).restore(session, literal)
        saved = dict(tf.train.list_variables(literal))
    # The restore op gives a resource variable a value of any shape.
    for variable in variables:
        if saved.pop(variable.op.name) != variable.shape.as_list():
            raise tf.errors.InvalidArgumentError(None, None, "another shape")
    for variable, value in zip(variables, session.run(variables), strict=True):
        check_finite(variable.op.name, value, prefix)
    return saved


def check_finite(name: str, value: np.ndarray, prefix: str) -> None:
    """Refuses a variable of a training that has failed.

    Raises:
      UserError: an entry of the array is not finite.
    """
    if not np.all(np.isfinite(value)):
        raise UserError(
            f"{prefix}: {name} holds a number that is not finite: the training failed; "
            "go back to an older checkpoint, or train anew with a lower --lr"
        )


@contextlib.contextmanager
def reading(prefix: str) -> Iterator[None]:
    """Turns what TensorFlow raises on a bad checkpoint into a `UserError`."""
    try:
        yield
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{prefix}: does not hold this model: it may be from another script or "
            "other --vgg or --freeze_vgg flags, or a copy without the optimizer's "
            "state, which cannot be trained further; use the script and the flags "
            "that trained it"
        ) from error
    except (tf.errors.OpError, RuntimeError, IndexError) as error:
        # The reader of single tensors raises the latter two.
        raise UserError(
            f"{prefix}: damaged or truncated; copy it again or train anew"
        ) from error


def saved_variables(model: Model) -> list[Tensor]:
    """Lists the variables of the default graph that a checkpoint of `model` holds."""
    frozen = {variable.ref() for variable in model.frozen}
    return [v for v in tf.global_variables() if v.ref() not in frozen]


def load_pretrained(session: tf.Session, model: Model, frozen_only: bool) -> None:
    """Gives a model's variables the pretrained weights that they start from.

    Args:
      session: the session of the model's graph.
      model: has `pretrained`, a list of (variables, function to their arrays), and
        `frozen`, the variables that a checkpoint leaves out.
      frozen_only: leaves out what a checkpoint holds, and does not load it.

    Raises:
      UserError: the weights cannot be had.
    """
    frozen = {variable.ref() for variable in model.frozen}
    for variables, load in model.pretrained:
        if not frozen_only or frozen & {variable.ref() for variable in variables}:
            assign(session, variables, load())


def assign(
    session: tf.Session, variables: Sequence[Tensor], arrays: Sequence[np.ndarray]
) -> None:
    """Sets variables to numpy arrays, without constants in the graph.

    Raises:
      UserError: the arrays do not fit.
    """
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape.as_list()) != array.shape:
            raise UserError(
                f"{variable.op.name}: pretrained weights have the shape {array.shape}, "
                f"not {tuple(variable.shape.as_list())}"
            )
        initializer = variable.initializer
        session.run(initializer, {initializer.inputs[1]: array})


def saved_qtables(prefix: str, script: str) -> np.ndarray:
    """Reads the integer tables in a checkpoint by TensorFlow.

    Args:
      prefix: path prefix of the checkpoint.
      script: name of a model with learned tables.

    Returns:
      uint8 `[2 (luma, chroma), 8 (v), 8 (u)]`.

    Raises:
      UserError: the checkpoint is damaged, or of another model.
    """
    saved = _saved_tables(prefix, tables_only=MODELS[script].tables_only)
    return LearnedTables.integers_of(saved)


def _saved_tables(prefix, tables_only=False):
    """Reads the variable of the tables; `tables_only` refuses a model with others."""
    with reading(prefix), checkpoints.literal_prefix(prefix) as literal:
        reader = tf.train.load_checkpoint(literal)
        names = set(reader.get_variable_to_shape_map())
        if tables_only:
            _refuse_unknown(names - {LearnedTables.NAME})
        saved = reader.get_tensor(LearnedTables.NAME)
    check_finite(LearnedTables.NAME, saved, prefix)
    return saved


def pretrained_tables(tables: LearnedTables, settings: ModelSettings) -> list:
    """Returns where learned tables start, as an entry of a model's `pretrained`.

    Args:
      tables: `LearnedTables`.
      settings: `ModelSettings`.

    Returns:
      A list for `pretrained`, see `load_pretrained`; empty without such a folder.
    """
    folder = settings.tables_from
    if not folder:
        return []

    def load():
        return [_saved_tables(folders.find_checkpoint(folder))]

    return [([tables.variable], load)]

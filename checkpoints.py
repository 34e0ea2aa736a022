"""Checkpoint folders: the settings beside a checkpoint, restoring, stripping.

A folder holds TensorFlow's checkpoint files and `settings.json`, the flags that the
model was trained with. Run as a script, it copies a checkpoint without the optimizer's
state: `python3 checkpoints.py SOURCE_DIR TARGET_DIR`.
"""

import tensorflow_log

import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import sys
import types

import tensorflow.compat.v1 as tf

from conv_blocks import VGG_BLOCKS
from errors import UserError, run_main
from image_files import write_atomically

SETTINGS_FILE = "settings.json"
CHECKPOINT_NAME = "model.ckpt"
LOCK_FILE = ".lock"

# Flags that a run cannot change half-way: the model, or what it is trained for.
DEFINING = (
    "script",
    "vgg",
    "freeze_vgg",
    "lmbda",
    "lpips_weight",
    "msssim_weight",
    "total_weight_regularizer",
    "rate_model",
)
_OPTIMIZER = re.compile(r"/Adam(_1)?$|^beta[12]_power(_\d)?$")
# Other variables that coding does without: the step, and the entropy model, which only
# a refinement needs.
_NOT_OF_THE_MODEL = re.compile(r"^global_step$|^rate_model/")
# Of flags that a settings.json may lack, of an older version or a script without them.
_DEFAULTS = {
    "vgg": "vgg16",
    "freeze_vgg": False,
    "table_init": None,
    "rate_model": "proxy",
    "lpips_weight": 0.0,
    "msssim_weight": 0.0,
}
# Flags that have no effect on the trained model.
_INCIDENTAL = ("checkpoint_dir", "command", "device", "preprocess_threads")


def settings_of(args, script):
    """The flags that are saved beside a checkpoint, as a dict."""
    flags = {k: v for k, v in vars(args).items() if k not in _INCIDENTAL}
    return {"script": script, **flags}


def save_settings(folder, settings):
    """Writes `settings` (a JSON-able dict) beside the checkpoint."""
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    write_atomically(os.path.join(folder, SETTINGS_FILE), text.encode())


def load_settings(folder):
    """The settings saved in `folder` as a dict; empty where there are none.

    Raises:
      UserError: the file is damaged.
    """
    path = os.path.join(folder, SETTINGS_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); restore or delete it") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not a JSON object; restore or delete it")
    return settings


def model_settings(folder, script):
    """The settings of the model in a checkpoint folder, as attributes.

    Args:
      folder: checkpoint folder.
      script: name of the model that is expected there, for example "ljpeg".

    Raises:
      UserError: the folder holds a model of another script.
    """
    settings = load_settings(folder)
    found = settings.get("script", script)
    if found != script:
        raise UserError(
            f"{folder}: holds a model of {found}.py, not of {script}.py; use "
            f"{found}.py or another folder"
        )
    model = types.SimpleNamespace(**{**_DEFAULTS, **settings})
    if model.vgg not in VGG_BLOCKS or not isinstance(model.freeze_vgg, bool):
        raise UserError(
            f"{os.path.join(folder, SETTINGS_FILE)}: --vgg {model.vgg}, --freeze_vgg "
            f"{model.freeze_vgg} are not of this program; restore the file"
        )
    return model


def check_resume(folder, settings):
    """Compares the flags of a resumed training with those saved beside its checkpoint.

    Returns:
      Lines about flags that changed and may (learning rate, data, last step, ...).

    Raises:
      UserError: a flag that defines the model or its loss contradicts the saved one.
    """
    saved = load_settings(folder)
    if saved:
        saved = {**_DEFAULTS, **saved}
    changed = {
        key: (saved[key], value)
        for key, value in settings.items()
        if key in saved and saved[key] != value
    }
    for key in DEFINING:
        if key in changed:
            raise UserError(_contradiction(folder, key, *changed[key]))
    return [
        f"{_flag(key)} was {old} until now, goes on with {new}"
        for key, (old, new) in sorted(changed.items())
    ]


def _flag(key):
    return "--lambda" if key == "lmbda" else f"--{key}"


def _contradiction(folder, key, old, new):
    if key == "script":
        return (
            f"{folder}: holds a model of {old}.py, not of {new}.py; train it with "
            f"{old}.py, or use another --checkpoint_dir"
        )
    if isinstance(old, bool):
        was, remedy = ("with", "pass it") if old else ("without", "leave it out")
        return (
            f"{folder}: was trained {was} {_flag(key)}; {remedy}, or use another "
            "--checkpoint_dir"
        )
    return (
        f"{folder}: was trained with {_flag(key)} {old}, not {new}; pass {_flag(key)} "
        f"{old}, or use another --checkpoint_dir"
    )


@contextlib.contextmanager
def locked(folder):
    """Makes `folder` and keeps other trainings out of it.

    Raises:
      UserError: another training is in it.
    """
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, LOCK_FILE), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder}: another training is running there; wait for it or use "
                "another --checkpoint_dir"
            ) from error
        yield


def find_checkpoint(folder):
    """Path prefix of the newest checkpoint in `folder` or in its subfolder `train`.

    Raises:
      UserError: there is none, or it is incomplete.
    """
    prefix = latest_checkpoint(folder)
    if prefix:
        return prefix
    inner = os.path.join(folder, "train")
    if os.path.isdir(inner):
        return find_checkpoint(inner)
    if glob.glob(os.path.join(glob.escape(folder), "lambda_*")):
        raise UserError(
            f"{folder}: holds lambda_* folders; name one of them (or pass --target_bpp "
            "to compress, which chooses among them)"
        )
    raise UserError(
        f"{folder}: no checkpoint there; train a model first, or name its folder"
    )


def latest_checkpoint(folder):
    """Path prefix of the newest checkpoint in `folder`, None where there is none.

    Raises:
      UserError: the newest checkpoint lacks one of its files.
    """
    state_file = os.path.join(folder, "checkpoint")
    if not os.path.exists(state_file):
        return None
    # TensorFlow logs what is wrong with the file and returns None, but raises a
    # ValueError for an empty one.
    state = None
    with contextlib.suppress(ValueError):
        state = tf.train.get_checkpoint_state(folder)
    if state is None or not state.model_checkpoint_path:
        raise UserError(f"{state_file}: damaged; restore it or delete it")
    prefix = state.model_checkpoint_path
    for suffix in (".index", ".data-00000-of-00001"):
        if not os.path.isfile(prefix + suffix):
            raise UserError(
                f"{prefix + suffix}: missing, the checkpoint is incomplete; copy the "
                "folder again or train anew in another one"
            )
    return prefix


def checkpoint_step(prefix):
    """The step in the name of a checkpoint, `.../model.ckpt-500` -> 500.

    Raises:
      UserError: the name does not end with a step.
    """
    step = prefix.rpartition("-")[2]
    if not step.isdecimal():
        raise UserError(
            f"{prefix}: no step at the end of the checkpoint's name; rename its files "
            "to model.ckpt-STEP"
        )
    return int(step)


def checkpoint_hash(prefix):
    """SHA-256 over both files of a checkpoint, hexadecimal."""
    digest = hashlib.sha256()
    for suffix in (".index", ".data-00000-of-00001"):
        try:
            with open(prefix + suffix, "rb") as file:
                digest.update(file.read())
        except FileNotFoundError as error:
            raise UserError(
                f"{prefix + suffix}: gone, a running training has replaced it; try "
                "again"
            ) from error
    return digest.hexdigest()


def saver(variables, **options):
    """A Saver whose folders may be moved (paths in them are relative)."""
    return tf.train.Saver(variables, save_relative_paths=True, **options)


def restore(session, variables, prefix):
    """Restores `variables` from the checkpoint `prefix`.

    The checkpoint may hold more than they only in what belongs to a training alone:
    attention restored as tables would be another codec.

    Raises:
      UserError: the checkpoint is damaged, or of another model.
    """
    if not variables:
        return
    with _reading(prefix):
        saved = _restore(session, variables, prefix)
        if not all(_OPTIMIZER.search(n) or _NOT_OF_THE_MODEL.search(n) for n in saved):
            raise tf.errors.NotFoundError(None, None, f"unknown variables: {saved}")


def restore_some(session, variables, prefix):
    """Restores `variables` from a checkpoint that may hold any others.

    Raises:
      UserError: the checkpoint is damaged, or does not hold them.
    """
    with _reading(prefix):
        _restore(session, variables, prefix)


def _restore(session, variables, prefix):
    """Restores `variables`; returns the shapes of the others, by name."""
    saver(variables).restore(session, prefix)
    saved = dict(tf.train.list_variables(prefix))
    # The restore op gives a resource variable a value of any shape.
    for variable in variables:
        if saved.pop(variable.op.name) != variable.shape.as_list():
            raise tf.errors.InvalidArgumentError(None, None, "another shape")
    return saved


@contextlib.contextmanager
def _reading(prefix):
    """Turns what TensorFlow raises on a bad checkpoint into a `UserError`."""
    try:
        yield
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{prefix}: does not hold this model (another script, other --vgg or "
            "--freeze_vgg, or to be trained further and a copy without the "
            "optimizer's state?); use the script and the flags that trained it"
        ) from error
    except (tf.errors.OpError, RuntimeError, IndexError) as error:
        # The reader of single tensors raises the latter two.
        raise UserError(
            f"{prefix}: damaged or truncated; copy it again or train anew"
        ) from error


def saved_variables(model):
    """The variables of the default graph that a checkpoint of `model` holds."""
    frozen = {variable.ref() for variable in model.frozen}
    return [v for v in tf.global_variables() if v.ref() not in frozen]


def load_pretrained(session, model, frozen_only):
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


def assign(session, variables, arrays):
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


def strip(source, target):
    """Copies the newest checkpoint of `source` without the optimizer's state.

    Args:
      source: checkpoint folder.
      target: folder, created; gets the checkpoint, settings and nothing else.

    Returns:
      Path prefix of the new checkpoint.
    """
    prefix = find_checkpoint(source)
    if os.path.isdir(target) and latest_checkpoint(target):
        raise UserError(f"{target}: holds a checkpoint already; name another folder")
    with _reading(prefix):
        reader = tf.train.load_checkpoint(prefix)
        names = reader.get_variable_to_shape_map()
        values = {
            name: reader.get_tensor(name)
            for name in sorted(names)
            if not _OPTIMIZER.search(name)
        }
    os.makedirs(target, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        variables = [
            tf.get_variable(name, initializer=value, use_resource=True)
            for name, value in values.items()
        ]
        session.run(tf.global_variables_initializer())
        path = saver(variables).save(
            session,
            os.path.join(target, CHECKPOINT_NAME),
            global_step=checkpoint_step(prefix),
            write_meta_graph=False,
        )
    save_settings(target, load_settings(os.path.dirname(prefix)))
    return path


def main():
    """Copies a checkpoint without the optimizer's state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", metavar="SOURCE_DIR", help="of the checkpoint")
    parser.add_argument("target", metavar="TARGET_DIR", help="for the copy")
    args = parser.parse_args()
    print(f"Wrote {strip(args.source, args.target)}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)

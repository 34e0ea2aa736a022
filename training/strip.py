"""Copies a checkpoint without the optimizer's state, a third of the size.

`python3 -m training.strip SOURCE_DIR TARGET_DIR`
"""

from __future__ import annotations

import argparse
import os
import sys

import tensorflow_v1 as tf
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from learned_jpeg.models import folders
from training import checkpoints, variables
from training.differentiable import LearnedTables


def strip(source: str, target: str) -> str:
    """Copies the newest checkpoint of `source` without the optimizer's state.

    Args:
      source: checkpoint folder.
      target: folder, created; gets the checkpoint, settings and nothing else.

    Returns:
      Path prefix of the new checkpoint.
    """
    prefix = folders.find_checkpoint(source)
    if os.path.isdir(target) and folders.latest_checkpoint(target):
        raise UserError(f"{target}: holds a checkpoint already; name another folder")
    with variables.reading(prefix), checkpoints.literal_prefix(prefix) as literal:
        reader = tf.train.load_checkpoint(literal)
        names = reader.get_variable_to_shape_map()
        values = {
            name: reader.get_tensor(name)
            for name in sorted(names)
            if not variables.OPTIMIZER.search(name)
        }
    os.makedirs(target, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        copies = [
            tf.get_variable(name, initializer=value, use_resource=True)
            for name, value in values.items()
        ]
        session.run(tf.global_variables_initializer())
        path = variables.saver(copies).save(
            session,
            os.path.join(target, checkpoints.CHECKPOINT_NAME),
            global_step=folders.checkpoint_step(prefix),
            write_meta_graph=False,
        )
    record = folders.load_record(os.path.dirname(prefix))
    if record:
        checkpoints.save_record(target, record)
    if LearnedTables.NAME in values and record:
        qtables = LearnedTables.integers_of(values[LearnedTables.NAME])
        folders.save_qtables(path, record["script"], qtables)
    return path


def main() -> None:
    """Copies a checkpoint without the optimizer's state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", metavar="SOURCE_DIR", help="of the checkpoint")
    parser.add_argument("target", metavar="TARGET_DIR", help="for the copy")
    args = parser.parse_args()
    print(f"Wrote {strip(args.source, args.target)}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)

"""Small checkpoints, as training leaves them."""

import os
import sys

import pytest
import tensorflow.compat.v1 as tf

from learned_jpeg.common.process import run_main
from tests.records import record_of
from training import checkpoints, strip, variables

RECORD = record_of("ljpeg", lr=1e-4)


SUFFIXES = (".index", ".data-00000-of-00001")


def build(shape=(8, 8, 2), name="qtables"):
    """A graph like that of a training: variables, Adam's slots, the global step."""
    with tf.variable_scope("", use_resource=True):
        table = tf.get_variable(name, shape)
        bias = tf.get_variable("head/bias", [5])
        step = tf.train.get_or_create_global_step()
        loss = tf.reduce_sum(table**2) + tf.reduce_sum((bias - 1) ** 2)
        train = tf.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
    return [table, bias], train


def write_checkpoint(folder, steps=7, **shape):
    """Trains a little, saves; returns (prefix, the values by name)."""
    os.makedirs(folder, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        kept, train = build(**shape)
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(train)
        step = tf.train.get_global_step()
        path = os.path.join(folder, checkpoints.CHECKPOINT_NAME)
        prefix = variables.saver(tf.global_variables()).save(
            session, path, step, write_meta_graph=False
        )
        checkpoints.save_record(folder, RECORD)
        return prefix, {v.op.name: session.run(v) for v in [*kept, step]}


def assert_one_line(caught, *parts):
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def run_script(monkeypatch, capsys, *argv):
    """(exit status, standard output, lines of standard error) of the script."""
    monkeypatch.setattr(sys, "argv", ["strip.py", *argv])
    with pytest.raises(SystemExit) as caught:
        run_main(strip.main)
    output, error = capsys.readouterr()
    return caught.value.code, output, error.splitlines()


def restored(prefix, **shape):
    """The values that a graph of the same model gets from a checkpoint."""
    with tf.Graph().as_default(), tf.Session() as session:
        kept, _ = build(**shape)
        variables.restore(session, kept, prefix)
        return {v.op.name: session.run(v) for v in kept}

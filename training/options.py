"""The flags of `train` as one typed object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from learned_jpeg.models.settings import ModelSettings

# Flags that have no effect on the trained model.
_INCIDENTAL = ("checkpoint_dir", "command", "device", "preprocess_threads")


@dataclass(frozen=True)
class TrainOptions:
    """The options of a training.

    Attributes:
      settings: what defines the model and its loss.
      record: the flags that settings.json keeps, by name.
      checkpoint_dir: folder of the checkpoints, of settings.json and of the events.
      train_glob: training images.
      batchsize: crops in a step.
      patchsize: side of the crops in px.
      preprocess_threads: threads that decode training images.
      last_step: step at which the training ends.
      lr: learning rate of Adam.
      lr_decay: factor on the learning rate every 10000 steps.
      lr_schedule: one of `arg_parser.LR_SCHEDULES`.
      seed: of weights, crops and noise.
      precision: "float32" or "bfloat16", of the convolutions.
      table_lr: learning rate of the tables; None for `lr`.
      rate_lr: learning rate of the entropy model; None for 10 times `lr`.
      feature_cache: folder of the trunk's features, None for no cache.
    """

    settings: ModelSettings
    record: Mapping[str, Any]
    checkpoint_dir: str
    train_glob: str
    batchsize: int
    patchsize: int
    preprocess_threads: int
    last_step: int
    lr: float
    lr_decay: float
    lr_schedule: str
    seed: int
    precision: str
    table_lr: float | None = None
    rate_lr: float | None = None
    feature_cache: str | None = None

    @classmethod
    def of_flags(cls, script: str, flags: Mapping[str, Any]) -> TrainOptions:
        """Makes the options of a command line.

        Args:
          script: name of the model script.
          flags: of its `train` command, by name; `precision` is a choice, not None.
        """
        kept = {key: value for key, value in flags.items() if key not in _INCIDENTAL}
        record = {"script": script, **kept}
        own = {f.name: flags[f.name] for f in fields(cls) if f.name in flags}
        return cls(settings=ModelSettings.of_record(record), record=record, **own)

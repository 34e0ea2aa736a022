"""Plans a call of `compress`: which images are its inputs, and where results go."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from learned_jpeg.commands.arguments import read_options_of
from learned_jpeg.commands.earlier_results import (
    earlier_results,
    results_in_subfolders,
)
from learned_jpeg.commands.inputs import (
    find_inputs,
    marked_results,
    roots_of,
    say_what_is_left_out,
)
from learned_jpeg.commands.outputs import folder_of_result, plan_outputs
from learned_jpeg.common.errors import UserError

STREAM = "-"  # standard input as an input, standard output as an output


class Plan(NamedTuple):
    """The images of a call.

    Attributes:
      inputs: paths, or `STREAM` alone.
      outputs: paths of their results, or `STREAM` alone.
      earlier: real paths of files beside the inputs that are taken for results of an
        earlier call, and not for inputs.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    earlier: frozenset[str] = frozenset()

    @property
    def has_stream(self) -> bool:
        """Whether the input or the output is a standard stream."""
        return STREAM in (*self.inputs, *self.outputs)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Returns (input, output) of each image."""
        return zip(self.inputs, self.outputs, strict=True)


def plan_call(args) -> Plan:
    """Returns the `Plan` of the flags of `compress`.

    Raises:
      UserError: there are no inputs, or no one name for their results; see
        `find_images`, `plan_outputs`.
    """
    if STREAM in args.inputs:
        return Plan([STREAM], [_output_of_stdin(args)])
    inputs = find_inputs(args)
    if args.output == STREAM:
        if len(inputs) > 1:
            raise UserError(
                f"--output {STREAM}: one result for {len(inputs)} inputs; name a folder"
            )
        return Plan(inputs, [STREAM])
    reading = read_options_of(args)
    earlier = marked_results(inputs) | results_in_subfolders(inputs, reading)
    if not args.in_place:
        folder = functools.partial(
            folder_of_result, output=args.output, roots=roots_of(args)
        )
        earlier |= earlier_results(inputs, folder, reading)
    if earlier:
        say_what_is_left_out(
            [path for path in inputs if path in earlier],
            "result",
            " of an earlier call",
            "; to compress them as well, name them without their originals",
        )
    inputs = [path for path in inputs if path not in earlier]
    if args.in_place:
        return Plan(inputs, inputs)
    outputs = plan_outputs(inputs, args.output, roots_of(args))
    return Plan(inputs, outputs, frozenset(map(os.path.realpath, earlier)))


def _output_of_stdin(args):
    if args.inputs not in ([STREAM], [STREAM, STREAM]):
        raise UserError(
            f"{STREAM}: standard input is one image; leave out the other inputs, or "
            f"pass -o {STREAM} for standard output"
        )
    output = STREAM if args.output is None else args.output
    is_file = output.lower().endswith((".jpg", ".jpeg"))
    if output != STREAM and not (is_file and not os.path.isdir(output)):
        raise UserError(
            f"{STREAM}: name the result of standard input by -o FILE.jpg, or by -o "
            f"{STREAM} for standard output"
        )
    return output

"""The commands of the model scripts, each loaded when it is asked for."""

from __future__ import annotations


def run(model_class, args) -> int:
    """Runs `train`, `compress` or `export`.

    Args:
      model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
      args: flags of the script's command line; `args.command` names the command.

    Returns:
      Exit status.

    Raises:
      UserError: as the command says.
    """
    # Imported here: one command needs what would slow down the start of the others.
    if args.command == "train":
        from training.loop import train

        return train(model_class, args)
    if args.command == "compress":
        from learned_jpeg.commands.compress import compress

        return compress(args, model_class.NAME)
    from learned_jpeg.commands.export import export

    return export(args, model_class.NAME)

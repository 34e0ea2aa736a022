"""The commands of the model scripts, each loaded when it is asked for."""


def run(model_class, args):
    """Runs `train`, `compress` or `export`.

    Args:
      model_class: a class of the model scripts, for example `ljpeg.LJPEG`.
      args: flags of the script's command line; `args.command` names the command.

    Returns:
      Exit status.

    Raises:
      UserError: as the command says.
    """
    # Imported here: what one command needs would slow down the start of the others.
    if args.command == "train":
        from training.loop import train

        return train(model_class, args)
    if args.command == "compress":
        from learned_jpeg.commands.compress import compress

        return compress(model_class, args)
    from learned_jpeg.commands.export import export

    return export(model_class, args)

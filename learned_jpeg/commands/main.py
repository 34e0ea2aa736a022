"""The command `learned-jpeg`, which compress.py is as well."""

# First, before numpy is loaded: it sets the process up for a command.
from learned_jpeg.common.process import run_main  # isort: skip
from learned_jpeg.commands.arguments import parse_compress


def main() -> None:
    """Compresses the images of the command line; exits with the status."""
    run_main(_compress)


def _compress():
    args = parse_compress()
    # Imported here, so that --help and wrong flags need not wait.
    from learned_jpeg.commands.compress import compress

    return compress(args)

"""The type of a path of a file."""

import os

PathLike = str | os.PathLike[str]

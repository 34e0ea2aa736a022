"""Names what is to be installed where a file needs a package that is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.paths import PathLike


@contextlib.contextmanager
def needs_extra(path: PathLike, kind: str, package: str, extra: str) -> Iterator[None]:
    """Context of the import of a package that reads one kind of file.

    Args:
      path: path of the file, for the error.
      kind: name of the kind of file.
      package: name of the package, as pip knows it.
      extra: name of the extra of this project that brings the package.

    Raises:
      UserError: it cannot be imported.
    """
    try:
        yield
    except ImportError:
        raise UserError(
            f"{path}: {kind} needs the package {package}: run pip install {package}, "
            f'or pip install ".[{extra}]" in the folder of this project'
        ) from None

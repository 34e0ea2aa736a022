"""Divides work among processes that know nothing of each other.

A hash of its name assigns each piece of work to one of N shards. So no process hands
out work, and added work does not move the rest to other shards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from learned_jpeg.common.atomic_files import exclusive, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json

FOLDER = "_shards"  # in the folder of the results
_CALL_FILE = "call.json"


@dataclass(frozen=True)
class Shard:
    """One of `count` processes, counted from 0."""

    index: int
    count: int

    def owns(self, name: str) -> bool:
        """Returns whether the work of a name belongs to this shard."""
        return stable_hash(name) % self.count == self.index

    def __str__(self):
        """Returns the shard as the command line has it."""
        return f"{self.index}/{self.count}"


def stable_hash(name: str) -> int:
    """Returns a 64-bit hash of a string that is the same in every process."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class ShardFolder:
    """The folder in which shards leave results for the call that gathers them."""

    def __init__(self, results_folder: str):
        """Stores the folder of the results; makes nothing yet."""
        self.path = os.path.join(results_folder, FOLDER)

    def is_begun(self) -> bool:
        """Returns whether there is something to gather."""
        return os.path.exists(self._call_path)

    @property
    def _call_path(self):
        return os.path.join(self.path, _CALL_FILE)

    @contextlib.contextmanager
    def entered(self, shard: Shard, call: dict[str, object]) -> Iterator[None]:
        """Makes the folder, and keeps it for one shard within the context.

        Args:
          shard: `Shard`.
          call: JSON-able settings that all shards have to share.

        Raises:
          UserError: the folder is of other settings or of another number of shards, or
            this shard is at work already.
        """
        os.makedirs(self.path, exist_ok=True)
        text = json.dumps({"shards": shard.count, "call": call}, indent=1)
        with contextlib.suppress(FileExistsError):
            write_atomically(self._call_path, f"{text}\n".encode(), replace=False)
        self.check(call)
        if (found := self.count()) != shard.count:
            raise UserError(
                f"--shard {shard}: {self.path} was begun as {found} shards; go on as "
                f"--shard I/{found}"
            )
        complaint = f"--shard {shard}: another process is this shard, in {self.path}"
        with exclusive(os.path.join(self.path, f"{shard.index}.lock"), complaint):
            yield

    def count(self) -> int:
        """Returns the number of shards."""
        return self._call()["shards"]

    def check(self, call: dict[str, object]) -> None:
        """Checks that the folder is of a call with the same settings.

        Raises:
          UserError: some setting differs.
        """
        found, wanted = self._call()["call"], json.loads(json.dumps(call))
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                raise UserError(
                    f"{self.path}: is of another call ({name} {found.get(name)} -> "
                    f"{wanted.get(name)}); name another folder of results, or delete "
                    "this one"
                )

    def _call(self):
        try:
            content = read_json(self._call_path)
            if isinstance(content["shards"], int) and isinstance(content["call"], dict):
                return content
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise UserError(
            f"{self._call_path}: does not say which call it is of; delete {self.path}"
        )

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path)

"""Work that is shared out among processes which know nothing of each other.

A shard of N takes what a hash of its name assigns to it. So nothing is handed out, and
what is added later changes the place of nothing else.
"""

import contextlib
import hashlib
import json
import os
import shutil
from typing import NamedTuple

from learned_jpeg.common.atomic_files import exclusive, write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json

FOLDER = "_shards"  # in the folder of the results
_CALL_FILE = "call.json"


class Shard(NamedTuple):
    """One of `count` processes, from 0."""

    index: int
    count: int

    def owns(self, name):
        """Whether the work of this name is this shard's."""
        return stable_hash(name) % self.count == self.index

    def __str__(self):
        """As on the command line."""
        return f"{self.index}/{self.count}"


def stable_hash(name):
    """A number of 64 bits that is the same in every process, of any string."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class ShardFolder:
    """What the shards of one call leave for the call that gathers it."""

    def __init__(self, results_folder):
        """Takes the folder of the results; makes nothing yet."""
        self.path = os.path.join(results_folder, FOLDER)

    def is_begun(self):
        """Whether there is something to gather."""
        return os.path.exists(self._call_path)

    @property
    def _call_path(self):
        return os.path.join(self.path, _CALL_FILE)

    @contextlib.contextmanager
    def entered(self, shard, call):
        """Context of one shard's work; makes the folder.

        Args:
          shard: `Shard`.
          call: JSON-able dict of the settings that all shards have to share.

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

    def count(self):
        """Number of the shards."""
        return self._call()["shards"]

    def check(self, call):
        """Refuses what the shards of another call have left.

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

    def remove(self):
        """Removes all that the shards have left."""
        shutil.rmtree(self.path)

"""Makes results of evaluate.py ready for others: curves as JSON, files in an archive.

`python3 -m evaluation.publish runs -o curves.json --archive files.tar` writes curves
as CompressAI does, with the name of the test set where `datasets.json` knows it, and an
archive of the files that were measured. Its `manifest.json` names the original, the
operating point, the bytes and the SHA-256 of each, so that anybody can score them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import arg_parser
from evaluation import dataset, other_encoders
from evaluation.curves import Compared, read_curves
from evaluation.image_names import files_of
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main


def main():
    """Writes what the command line names; returns the exit status."""
    args = arg_parser.parse_publish()
    curves = read_curves(args.folder)
    write_atomically(
        args.output, (json.dumps(as_json(curves), indent=1) + "\n").encode()
    )
    print(f"Written: {args.output}")
    if args.archive:
        count = write_archive(args.archive, curves)
        print(f"Written: {args.archive}, {count} files and manifest.json")
    return 0


def as_json(curves: list[Compared]) -> list[dict]:
    """Returns the curves in the form that CompressAI writes."""
    written = []
    for curve in curves:
        images = curve.records[0]["key"]["images"]
        description = curve.records[0].get("description", "")
        title = dataset.title_of(images)
        written.append(
            other_encoders.compressai_json(curve.label, description, curve.means, title)
        )
    return written


def write_archive(path: str, curves: list[Compared]) -> int:
    """Writes a tar file of the coded files and their manifest.

    Args:
      path: of the archive.
      curves: with records.

    Returns:
      The number of coded files.

    Raises:
      UserError: a coded file is missing.
    """
    buffer = io.BytesIO()
    entries = []
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for curve in curves:
            for stem, record, setting in zip(
                curve.stems, curve.records, curve.settings, strict=True
            ):
                hashes = {i["name"]: i.get("sha256") for i in record["key"]["images"]}
                for image, file in files_of(record).items():
                    data = _read(os.path.join(stem, file))
                    name = f"{os.path.basename(stem)}/{file}"
                    _add(archive, name, data)
                    entries.append(
                        {
                            "file": name,
                            "original": image,
                            "original_sha256": hashes[image],
                            "codec": curve.label,
                            "setting": setting,
                            "bytes": len(data),
                            "sha256": hashlib.sha256(data).hexdigest(),
                        }
                    )
        _add(archive, "manifest.json", (json.dumps(entries, indent=1) + "\n").encode())
    write_atomically(path, buffer.getvalue())
    return len(entries)


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: not there; evaluate again where the files are kept"
        ) from error


def _add(archive, name, data):
    """Adds a file with no trace of when and by whom it was made."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    run_main(main)

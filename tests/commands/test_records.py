"""Tests of records.py: what is written is read back, whatever happened before."""

import dataclasses
import json
import math
import os
import threading

import pytest

from learned_jpeg.commands.records import (
    COMPRESSED,
    FAILED,
    Record,
    RecordFile,
    read_records,
)
from learned_jpeg.common.errors import UserError

DONE = Record(
    path="in/ä\udcff.png",
    status=COMPRESSED,
    output="out/ä\udcff.jpg",
    bytes_in=1000,
    bytes_out=250,
    bpp=0.5,
    setting="quality 75",
    subsampling="4:2:0",
    seconds=1.25,
)
BAD = Record("b.png", FAILED, bytes_in=3, error="b.png: not an image")


def test_records_are_read_back(tmp_path):
    path = tmp_path / "x.jsonl"
    for record in (DONE, BAD):
        with RecordFile(path) as file:
            file.append(record)
    assert list(read_records(path)) == [DONE, BAD]


def test_a_line_has_the_documented_names(tmp_path):
    with RecordFile(tmp_path / "x.jsonl") as file:
        file.append(DONE)
    (line,) = (tmp_path / "x.jsonl").read_text("ascii").splitlines()
    assert json.loads(line) == {
        "path": "in/ä\udcff.png",
        "status": "compressed",
        "output": "out/ä\udcff.jpg",
        "bytes_in": 1000,
        "bytes_out": 250,
        "bpp": 0.5,
        "setting": "quality 75",
        "subsampling": "4:2:0",
        "seconds": 1.25,
        "error": None,
    }
    assert os.fsencode(json.loads(line)["path"]) == b"in/\xc3\xa4\xff.png"


def test_a_score_that_was_measured_is_part_of_a_line(tmp_path):
    measured = dataclasses.replace(
        DONE,
        score=74.5,
        metrics={"ssimulacra2": 74.5, "psnr": math.inf, "lpips": math.nan},
        dry_run=True,
    )
    line = json.loads(measured.line())
    assert (line["score"], line["dry_run"]) == (74.5, True)
    assert line["metrics"] == {"ssimulacra2": 74.5, "psnr": None, "lpips": None}
    (tmp_path / "x").write_bytes(measured.line())
    (read,) = read_records(tmp_path / "x")
    assert (read.score, read.metrics) == (74.5, line["metrics"])
    assert "score" not in json.loads(dataclasses.replace(DONE, score=math.nan).line())


@pytest.mark.parametrize("cut", [1, 20, len(BAD.line()) - 1])
def test_a_line_that_was_cut_off_costs_only_itself(tmp_path, cut):
    path = tmp_path / "x.jsonl"
    path.write_bytes(DONE.line() + BAD.line()[:-cut])
    with RecordFile(path) as file:
        file.append(DONE)
    whole = [BAD] if cut == 1 else []
    assert list(read_records(path)) == [DONE, *whole, DONE]


def test_lines_that_are_no_records_are_left_out(tmp_path):
    odd = [b"[1]", b"3", b"null", b"{}", b"[" * 100_000, b"\xff", b"", b'{"path": 1']
    (tmp_path / "x.jsonl").write_bytes(b"\n".join([*odd, DONE.line()]))
    assert list(read_records(tmp_path / "x.jsonl")) == [DONE]


@pytest.mark.parametrize(
    "change",
    [
        {"path": 5},
        {"path": None},
        {"path": ["a.png"]},
        {"path": "\ud800"},  # no bytes of a name
        {"status": "done"},
        {"status": ["compressed"]},
        {"output": 1},
        {"bytes_in": "9"},
        {"bytes_out": -1},
        {"bpp": True},
        {"bpp": float("nan")},
        {"setting": {}},
        {"subsampling": 420},
        {"seconds": None},
        {"error": 0},
    ],
)
def test_a_record_with_a_value_of_another_kind_is_left_out(tmp_path, change):
    bad = json.dumps({**json.loads(DONE.line()), **change}).encode()
    (tmp_path / "x.jsonl").write_bytes(bad + b"\n" + BAD.line())
    assert list(read_records(tmp_path / "x.jsonl")) == [BAD]


def test_several_writers_leave_whole_lines(tmp_path):
    def write(name):
        with RecordFile(tmp_path / "x.jsonl") as file:
            for number in range(100):
                file.append(Record(f"{name}{number}", COMPRESSED, "o" * 500))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    paths = [record.path for record in read_records(tmp_path / "x.jsonl")]
    assert sorted(paths) == sorted(f"{n}{i}" for n in "abc" for i in range(100))


def test_files_that_cannot_be_used_are_one_line(tmp_path):
    with pytest.raises(UserError, match="none/x.jsonl: cannot be written: No such"):
        RecordFile(tmp_path / "none" / "x.jsonl")
    with pytest.raises(UserError, match="none.jsonl: cannot be read: No such"):
        list(read_records(tmp_path / "none.jsonl"))

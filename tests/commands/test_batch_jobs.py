"""`compress` of long lists, in shards: what is done, what is left, and what is kept."""

import collections
import io
import json
import os
import signal
import tracemalloc

import pytest

import arg_parser
from learned_jpeg.commands import batch_jobs
from learned_jpeg.commands import run as commands
from learned_jpeg.commands.records import RecordFile, read_records
from learned_jpeg.commands.shards import Shard, stable_hash
from learned_jpeg.common.errors import UserError
from ljpeg_PIL import StandardJPEG
from tests.commands.helpers import save_png


def run(*argv):
    """The exit status of `ljpeg_PIL.py compress`."""
    words = ["compress", "--workers", "2", "--quality", "50", *map(str, argv)]
    return commands.run(StandardJPEG, arg_parser.parse_model(StandardJPEG, words))


def share(index, count, *argv):
    flags = ("--files_from", "list", "-o", "out", "--shard", f"{index}/{count}")
    return run(*flags, *argv)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Paths of ten images in a tree, also in the file `list` beside it."""
    monkeypatch.chdir(tmp_path)
    paths = [f"in/{'ab'[i % 2]}/{i}.png" for i in range(10)]
    for seed, path in enumerate(paths):
        save_png(tmp_path / path, 16, 24, seed)
    write_list(paths)
    return paths


def write_list(paths):
    with open("list", "wb") as file:
        file.writelines(os.fsencode(path) + b"\n" for path in paths)


def results():
    """dict from the path of each result below `out` to its bytes."""
    found = {}
    for folder, _, names in os.walk("out"):
        for name in names:
            path = os.path.join(folder, name)
            if not path.startswith(os.path.join("out", "_shards")):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, "out")] = file.read()
    return found


def recorded(index):
    return list(read_records(f"out/_shards/{index}.jsonl"))


def missing(capsys, *flags):
    """(exit status, paths that `--missing` prints)."""
    capsys.readouterr()
    status = run("--files_from", "list", "-o", "out", "--missing", *flags)
    return status, capsys.readouterr().out.splitlines()


def test_shards_make_the_files_of_one_call_in_their_tree(photos, capsys):
    assert [share(index, 3) for index in range(3)] == [0, 0, 0]
    written = results()
    assert sorted(written) == sorted(f"{path[:-4]}.jpg" for path in photos)
    records = [record for index in range(3) for record in recorded(index)]
    assert sorted(record.path for record in records) == sorted(photos)
    for record in records:
        assert record.bytes_out == len(written[os.path.relpath(record.output, "out")])
        assert record.bpp == 8 * record.bytes_out / (16 * 24)
    assert missing(capsys) == (0, [])
    assert run(*photos, "-o", "flat") == 0
    for path in photos:
        with open(f"flat/{os.path.basename(path)[:-4]}.jpg", "rb") as file:
            assert written[f"{path[:-4]}.jpg"] == file.read()


def test_a_second_call_does_what_was_added_and_nothing_else(photos, capsys):
    write_list(photos[:6])
    for index in range(2):
        share(index, 2)
    before = {path: os.stat(f"out/{path}").st_mtime_ns for path in results()}
    write_list(photos)
    assert missing(capsys) == (1, photos[6:])
    for index in range(2):
        assert share(index, 2) == 0
    assert len(results()) == 10
    assert (
        before.items()
        <= {path: os.stat(f"out/{path}").st_mtime_ns for path in results()}.items()
    )
    assert sum(len(recorded(index)) for index in range(2)) == 10


def test_a_list_may_come_by_standard_input(photos, monkeypatch):
    text = io.TextIOWrapper(io.BytesIO("\r\n".join(photos).encode()))
    monkeypatch.setattr("sys.stdin", text)
    assert run("--files_from", "-", "-o", "out") == 0
    assert len(results()) == 10


def test_names_that_are_not_utf_8_come_through(photos, tmp_path):
    path = os.fsdecode(b"in/caf\xe9.png")
    os.rename(photos[0], path)
    write_list([path])
    assert run("--files_from", "list", "-o", "out") == 0
    assert list(results()) == [os.fsdecode(b"in/caf\xe9.jpg")]
    assert recorded(0)[0].path == path
    assert run("--files_from", "list", "-o", "out") == 0
    assert len(recorded(0)) == 1


def test_a_call_killed_after_a_file_and_in_a_line_loses_nothing(photos, capsys):
    assert share(0, 1) == 0
    wanted = results()
    manifest = "out/_shards/0.jsonl"
    with open(manifest, "rb") as file:
        lines = file.readlines()
    with open(manifest, "wb") as file:
        file.write(b"".join(lines[:4]) + lines[4][:20])
    known = {json.loads(line)["path"] for line in lines[:4]}
    left = [path for path in photos if path not in known]
    assert missing(capsys) == (1, left)
    # Six files are there that no line tells of; they are made again, and found equal.
    assert share(0, 1) == 0
    assert missing(capsys) == (0, [])
    assert results() == wanted
    assert collections.Counter(r.path for r in recorded(0)) == dict.fromkeys(photos, 1)


def test_sigterm_ends_and_records_the_images_at_hand(photos, monkeypatch, capsys):
    append = RecordFile.append

    def append_and_stop(self, record):
        append(self, record)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(RecordFile, "append", append_and_stop)
    with pytest.raises(SystemExit) as caught:
        share(0, 1)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setattr(RecordFile, "append", append)
    written = sorted(record.output for record in recorded(0))
    assert 0 < len(written) < 10
    assert written == sorted(os.path.join("out", path) for path in results())
    assert share(0, 1) == 0
    assert missing(capsys) == (0, [])
    assert len(recorded(0)) == 10


def test_what_is_there_from_elsewhere_is_never_replaced(photos, capsys):
    os.makedirs("out/in/a")
    with open("out/in/a/0.jpg", "wb") as file:
        file.write(b"precious")
    assert share(0, 1) == 1
    assert "out/in/a/0.jpg: exists already" in capsys.readouterr().err
    assert results()["in/a/0.jpg"] == b"precious"
    assert missing(capsys) == (1, [])  # but it has failed
    assert share(0, 1, "--skip_existing") == 0
    assert missing(capsys) == (0, [])
    with open("in/a/0.png", "rb") as file:
        original = file.read()
    # Results beside the inputs, under the same name even.
    os.rename("in/a/0.png", "in/a/0.jpg")
    write_list(["in/a/0.jpg"])
    assert run("--files_from", "list", "-o", ".", "--no-keep_smaller") == 1
    with open("in/a/0.jpg", "rb") as file:
        assert file.read() == original


def test_failures_are_tried_again_and_told_apart(photos, capsys):
    with open("in/b/1.png", "rb") as file:
        data = file.read()
    with open("in/b/1.png", "wb") as file:
        file.write(b"no picture")
    assert share(0, 1) == 1
    assert len(results()) == 9
    assert [r.path for r in recorded(0) if r.error] == ["in/b/1.png"]
    assert missing(capsys) == (1, [])
    with open("in/b/1.png", "wb") as file:
        file.write(data)
    assert share(0, 1) == 0
    assert missing(capsys) == (0, [])


def test_two_of_one_stem_keep_their_suffixes_in_whatever_shard(photos, tmp_path):
    save_png(tmp_path / "in" / "a" / "0.tif", 16, 24, 50)
    write_list([*photos, "in/a/0.tif", "in/a/0.png"])  # one of them twice
    assert [share(index, 3) for index in range(3)] == [0, 0, 0]
    names = {name for name in results() if name.startswith("in/a/0")}
    assert names == {"in/a/0.png.jpg", "in/a/0.tif.jpg"}
    assert len(results()) == 11


@pytest.mark.parametrize(
    "path, wanted",
    [
        ("a.png", "out/a.jpg"),
        ("./a/b.c/d", "out/a/b.c/d.jpg"),
        ("/data/a.tif", "out/data/a.jpg"),
        ("../../x/a.png", "out/x/a.jpg"),
    ],
)
def test_results_stay_below_their_folder(path, wanted):
    assert batch_jobs.output_of(path, "out") == wanted


def test_a_line_that_names_no_file_is_one_failure(photos, capsys):
    names = ["..", "/", ".", "../..", "\0", "a\0b.png", "x" * 300 + ".png"]
    write_list([*names, photos[0]])
    assert share(0, 1) == 1
    assert list(results()) == ["in/a/0.jpg"]
    assert {r.path for r in recorded(0) if r.error} == set(names)
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == len(names)
    assert missing(capsys) == (1, [])


def test_other_spellings_and_repetitions_of_a_path_have_one_result(photos, capsys):
    write_list(["in/a/0.png", "./in/a/0.png", "in//a/./0.png", "in/a/0.png"])
    assert share(0, 1, "--missing") == 1
    assert "4 of 4 are in no manifest" in capsys.readouterr().err
    assert share(0, 1) == 0
    assert "1 of 1 files" in capsys.readouterr().out
    assert (list(results()), len(recorded(0))) == (["in/a/0.jpg"], 1)
    write_list(["in/./a/0.png", "in/a/2.png", "./in/a/2.png"])
    assert missing(capsys) == (1, ["in/a/2.png", "./in/a/2.png"])
    assert share(0, 1) == 0
    assert [r.path for r in recorded(0)] == ["in/a/0.png", "in/a/2.png"]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_mark_of_a_text_file_is_no_part_of_a_path(photos, capsys, ends):
    with open("list", "w", encoding="utf-8-sig", newline="") as file:
        file.write(ends.join(photos[:2]))
    assert share(0, 1) == 0
    assert sorted(r.path for r in recorded(0)) == sorted(photos[:2])
    assert missing(capsys) == (0, [])
    with open("list", "w", encoding="utf-16") as file:
        file.write("\n".join(photos))
    with pytest.raises(UserError, match="--files_from list: is UTF-16; save it as UTF"):
        share(0, 1)


def test_a_list_may_be_separated_by_nul_bytes(photos, capfdbinary):
    os.rename(photos[0], "in/new\nline.png")
    names = ["in/new\nline.png", *photos[1:3]]
    with open("list", "wb") as file:
        file.write(b"\xef\xbb\xbf" + b"\0".join(os.fsencode(n) for n in names) + b"\0")
    assert run("--files_from0", "list", "-o", "out", "--missing") == 1
    assert capfdbinary.readouterr().out == b"".join(
        os.fsencode(name) + b"\0" for name in names
    )
    assert run("--files_from0", "list", "-o", "out") == 0
    assert sorted(r.path for r in recorded(0)) == sorted(names)
    assert os.path.exists("out/in/new\nline.jpg")
    write_list([f"{photos[1]}\0{photos[2]}"])
    with pytest.raises(UserError, match="list: holds NUL bytes; pass it by --files_f"):
        run("--files_from", "list", "-o", "out")


def test_paths_that_a_list_repeats_are_counted(photos, caplog):
    caplog.set_level("INFO")
    write_list([*photos[:2], photos[0], f"./{photos[0]}"])
    assert share(0, 1) == 0
    assert "left out 2 repetitions of paths" in caplog.text
    assert len(recorded(0)) == 2


def test_a_line_of_a_manifest_that_is_no_record_tells_of_no_file(photos, capsys):
    assert share(0, 1) == 0
    with open("out/_shards/0.jsonl", "a") as file:
        file.write('{"path": 5, "status": "compressed"}\n')
    assert missing(capsys) == (0, [])
    assert share(0, 1) == 0


def test_an_empty_file_of_a_killed_call_is_made_again(photos, capsys):
    for name in ("0", "2"):
        os.makedirs("out/in/a", exist_ok=True)
        with open(f"out/in/a/{name}.jpg", "wb"):
            pass
    assert share(0, 1, "--skip_existing") == 0
    assert missing(capsys) == (0, [])
    assert all(results().values())


def test_folders_are_shared_out_as_well(photos, capsys):
    flags = ("-r", "in", "-o", "out")
    assert [run(*flags, "--shard", f"{i}/2") for i in range(2)] == [0, 0]
    assert sorted(results()) == sorted(f"{path[3:-4]}.jpg" for path in photos)
    assert recorded(0) and recorded(1)
    assert run(*flags, "--missing") == 0


def test_calls_that_do_not_fit_are_refused_and_lose_nothing(photos):
    assert share(0, 3) == 0
    before = (results(), recorded(0))
    with pytest.raises(UserError, match="begun as 3 shards"):
        share(0, 4)
    with pytest.raises(UserError, match="entropy_coding optimized -> standard"):
        share(1, 3, "--entropy_coding", "default")
    folder = batch_jobs.ShardFolder("out")
    with open("out/_shards/call.json") as file:
        call = json.load(file)["call"]
    with (
        folder.entered(Shard(1, 3), call),
        pytest.raises(UserError, match="another process is this shard"),
    ):
        share(1, 3)
    with pytest.raises(UserError, match="--files_from none: no such file"):
        run("--files_from", "none", "-o", "out", "--shard", "0/3")
    assert (results(), recorded(0)) == before


@pytest.mark.parametrize(
    "flags, word",
    [
        ("", "name the images"),
        ("a.png --files_from list -o out", "name the images"),
        ("a.png --shard 0/2", "by -o"),
        ("--files_from list -o a.jpg", "by -o"),
        ("--files_from list -o -", "by -o"),
        ("a.png --shard 0/2 -o -", "by -o"),
        ("--files_from list -o out --force", "--force"),
        ("--files_from list -o out --json x", "--json"),
    ],
)
def test_flags_that_do_not_fit_are_refused(capsys, flags, word):
    with pytest.raises(SystemExit):
        arg_parser.parse_model(StandardJPEG, ["compress", *flags.split()])
    assert word in capsys.readouterr().err


def test_shards_are_even_and_stay_when_paths_are_added():
    paths = [f"archive/{i % 97}/{i}.jpg" for i in range(4000)]
    sizes = [sum(Shard(i, 8).owns(path) for path in paths) for i in range(8)]
    assert sum(sizes) == 4000
    assert min(sizes) > 400 and max(sizes) < 600
    assert stable_hash("archive/1/1.jpg") == 13709871151971930318


@pytest.mark.slow
def test_little_is_held_of_a_long_list(photos, monkeypatch):
    paths = [f"{'deep/' * 12}{i}.png" for i in range(20000)]
    write_list(paths)
    os.makedirs("out/_shards")
    args = arg_parser.parse_model(
        StandardJPEG,
        ["compress", "--files_from", "list", "-o", "out", "--shard", "0/2"],
    )
    tracemalloc.start()
    try:
        with batch_jobs.opened_batch_job(args, None) as work:
            count = sum(1 for _ in work.pairs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == work.count and 9000 < count < 11000
    assert peak < 100 * count  # a path alone is 120 bytes

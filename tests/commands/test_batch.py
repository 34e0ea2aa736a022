"""Tests of batches of `compress`: folders of folders, records, originals, memory."""

import contextlib
import errno
import os
import signal
import threading
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import learned_jpeg as lj
from learned_jpeg.commands import batch
from learned_jpeg.commands.batch import Budget, Done, run_batch
from learned_jpeg.commands.job import memory_of
from learned_jpeg.commands.originals import without_metadata
from learned_jpeg.commands.records import Record, RecordFile, read_records
from learned_jpeg.common import threads
from learned_jpeg.common.errors import UserError
from learned_jpeg.jpeg import file as jpeg_file
from learned_jpeg.jpeg.lossless import optimized
from learned_jpeg.pictures.image_files import read_image, read_image_and_metadata
from tests.commands.helpers import compress_pil, photograph, save_png


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def save_jpeg(path, quality=20, size=(40, 56), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(*size)).save(path, "JPEG", quality=quality, **options)
    return path


# Folders of folders


def test_the_tree_is_kept_below_the_output_folder(tmp_path):
    for name in ("a.png", "x/a.png", "x/y/a.png", ".hidden/a.png"):
        save_png(tmp_path / "in" / name)
    (tmp_path / "in" / "x" / "loop").symlink_to(tmp_path / "in")
    out = tmp_path / "out"
    assert compress_pil(tmp_path / "in", "--recursive", "-o", out) == 0
    assert tree(out) == ["a.jpg", "x/a.jpg", "x/y/a.jpg"]
    assert tree(tmp_path / "in") == [".hidden/a.png", "a.png", "x/a.png", "x/y/a.png"]


def test_trees_of_two_folders_do_not_collide(tmp_path):
    sizes = {"p/x/a.png": 24, "q/x/a.png": 32, "q/x/b.png": 40}
    for name, width in sizes.items():
        save_png(tmp_path / name, 16, width)
    folders = [tmp_path / "p", tmp_path / "q"]
    assert compress_pil(*folders, "--recursive", "-o", tmp_path / "out") == 0
    widths = [read_image(tmp_path / "out" / n).shape[1] for n in tree(tmp_path / "out")]
    assert sorted(widths) == [24, 32, 40]


def test_results_inside_the_tree_are_no_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_png(tmp_path / "x" / "a.png")
    for _ in range(2):
        assert compress_pil(".", "--recursive", "--force", "-o", "small") == 0
        assert tree(tmp_path) == ["small/x/a.jpg", "x/a.png"]


def test_without_an_output_folder_results_lie_beside_the_inputs(tmp_path):
    for name in ("a.png", "x/b.png"):
        save_png(tmp_path / name)
    assert compress_pil(tmp_path, "-r") == 0
    assert tree(tmp_path) == ["a.jpg", "a.png", "x/b.jpg", "x/b.png"]


def test_a_tree_without_images_is_one_line(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="no images in this folder or below it"):
        compress_pil(tmp_path, "--recursive")


# A call that goes on


def test_what_exists_is_left_out(tmp_path, capsys):
    for name in "abc":
        save_png(tmp_path / f"{name}.png")
    out, json = tmp_path / "out", tmp_path / "x.jsonl"
    assert compress_pil(tmp_path / "a.png", "-o", out) == 0
    (out / "a.jpg").write_bytes(b"of the first call")
    argv = (tmp_path, "-o", out, "--skip_existing", "--json", json)
    assert compress_pil(*argv) == 0
    assert (out / "a.jpg").read_bytes() == b"of the first call"
    assert "1 of 3 images skipped" in capsys.readouterr().out
    assert compress_pil(*argv) == 0
    assert "3 of 3 images skipped" in capsys.readouterr().out
    statuses = [(os.path.basename(r.path)[0], r.status) for r in read_records(json)]
    assert dict(statuses[:3]) == {"a": "skipped", "b": "compressed", "c": "compressed"}
    assert {status for _, status in statuses[3:]} == {"skipped"}


def test_a_result_that_appears_meanwhile_is_left_out_as_well(
    tmp_path, capsys, monkeypatch
):
    for name in "ab":
        save_png(tmp_path / f"{name}.png")
    encode = jpeg_file.encode

    def encode_slowly(*args):
        (tmp_path / "a.jpg").write_bytes(b"of another call")
        return encode(*args)

    monkeypatch.setattr(jpeg_file, "encode", encode_slowly)
    json = tmp_path / "x.jsonl"
    argv = (tmp_path / "a.png", tmp_path / "b.png", "--json", json, "--verbose")
    assert compress_pil(*argv, "--skip_existing") == 0
    assert "1 of 2 images skipped" in capsys.readouterr().out
    assert (tmp_path / "a.jpg").read_bytes() == b"of another call"
    first, second = sorted(read_records(json), key=lambda record: record.path)
    assert (first.status, second.status) == ("skipped", "compressed")


@pytest.mark.parametrize("flags", [[], ["--skip_existing"]])
def test_an_empty_file_is_no_result(tmp_path, flags):
    save_png(tmp_path / "a.png")
    (tmp_path / "a.jpg").touch()
    assert compress_pil(tmp_path / "a.png", *flags) == 0
    assert read_image(tmp_path / "a.jpg").shape == (40, 56, 3)


def test_a_private_image_stays_private(tmp_path):
    for name, mode in (("a", 0o600), ("b", 0o640), ("c", 0o755)):
        save_png(tmp_path / f"{name}.png").chmod(mode)
    before = os.umask(0o022)
    try:
        assert compress_pil(tmp_path, "-o", tmp_path / "out") == 0
    finally:
        os.umask(before)
    modes = [(tmp_path / "out" / f"{n}.jpg").stat().st_mode & 0o777 for n in "abc"]
    assert modes == [0o600, 0o640, 0o644]


def test_records_say_what_is_on_the_disk(tmp_path):
    save_png(tmp_path / "a.png", 40, 56)
    (tmp_path / "b.png").write_text("no picture")
    json = tmp_path / "x.jsonl"
    assert compress_pil(tmp_path, "--json", json, "--quality", 30) == 1
    good, bad = sorted(read_records(json), key=lambda record: record.path)
    output = tmp_path / "a.jpg"
    assert good.path == str(tmp_path / "a.png") and good.output == str(output)
    assert good.bytes_in == (tmp_path / "a.png").stat().st_size
    assert good.bytes_out == output.stat().st_size
    assert good.bpp == 8 * good.bytes_out / (40 * 56)
    assert (good.setting, good.status) == ("quality 30", "compressed")
    assert 0 < good.seconds < 60 and good.error is None
    assert (bad.status, bad.output, bad.bytes_in) == ("failed", None, 10)
    assert bad.error.startswith(f"{tmp_path / 'b.png'}: not an image")


def test_a_record_file_that_cannot_be_written_is_one_line(tmp_path):
    save_png(tmp_path / "a.png")
    with pytest.raises(UserError, match="x.jsonl: cannot be written"):
        compress_pil(tmp_path, "--json", tmp_path / "none" / "x.jsonl")
    assert tree(tmp_path) == ["a.png"]


# Never larger than what came in


def test_a_smaller_jpeg_is_kept_after_the_lossless_pass(tmp_path, capsys):
    path = save_jpeg(tmp_path / "a.jpg", 20, comment=b"mine")
    fine = save_jpeg(tmp_path / "b.jpg", 98)
    out, json = tmp_path / "out", tmp_path / "x.jsonl"
    assert compress_pil(path, fine, "-o", out, "--json", json, "--quality", 90) == 0
    data = optimized(path.read_bytes())
    assert (out / "a.jpg").read_bytes() == data
    assert (out / "b.jpg").stat().st_size < fine.stat().st_size
    text = f"{out / 'a.jpg'}: kept the original ({len(data)} bytes; quantized no finer"
    assert text in capsys.readouterr().out
    first, second = sorted(read_records(json), key=lambda record: record.path)
    assert (first.status, second.status) == ("original", "compressed")
    assert first.bytes_out == len(data)


def test_a_larger_file_is_written_on_demand(tmp_path):
    path = save_jpeg(tmp_path / "a.jpg", 20)
    argv = ("-o", tmp_path / "out", "--quality", 90, "--no-keep_smaller")
    assert compress_pil(path, *argv) == 0
    assert (tmp_path / "out" / "a.jpg").stat().st_size > path.stat().st_size


def test_a_smaller_png_is_not_written_as_jpg(tmp_path):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.png")
    assert compress_pil(tmp_path / "a.png") == 0
    assert (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_damaged_jpeg_is_not_kept(tmp_path):
    path = save_jpeg(tmp_path / "a.jpg", 20, (64, 64))
    path.write_bytes(path.read_bytes()[:-300])
    argv = ("-o", tmp_path / "out", "--quality", 95, "--lenient")
    assert compress_pil(path, *argv) == 0
    assert (tmp_path / "out" / "a.jpg").read_bytes()[-2:] == b"\xff\xd9"


@pytest.mark.parametrize("orientation", [1, 6])
def test_metadata_of_a_kept_jpeg_are_stripped_on_demand(tmp_path, orientation):
    exif = Image.Exif()
    exif[274], exif[315] = orientation, "Ansel"
    secrets = {"comment": b"secret", "dpi": (300, 300), "xmp": b"<x/>"}
    path = save_jpeg(tmp_path / "a.jpg", 20, exif=exif, **secrets)
    path.write_bytes(path.read_bytes() + b"secret pictures behind the end")
    output = tmp_path / "out" / "a.jpg"
    argv = ("-o", output, "--quality", 90, "--strip_metadata", "--verbose")
    assert compress_pil(path, *argv) == 0
    assert output.read_bytes() == optimized(without_metadata(path.read_bytes()))
    assert b"Ansel" not in output.read_bytes() and b"secret" not in output.read_bytes()
    pixels, found = read_image_and_metadata(output)
    np.testing.assert_array_equal(pixels, read_image(path))
    assert (found.xmp, found.density, found.segments) == (None, None, ())
    assert (found.exif is None) == (orientation == 1)
    with Image.open(output) as image:
        assert dict(image.getexif()) == ({} if orientation == 1 else {274: orientation})


# Threads, memory


def test_inputs_are_taken_as_they_are_needed():
    """A list of millions has not to be held."""
    taken, limit = [], 200

    def pairs():
        for number in range(10_000):
            taken.append(number)
            yield str(number), "out"

    def job(path, output):
        return Done(Record(path, "compressed"), {})

    results = run_batch(job, pairs(), 2)
    assert next(results).record.path == "0"
    assert len(taken) <= limit
    results.close()
    assert len(taken) <= limit


def test_no_file_ends_the_batch_and_each_failure_names_its_file(tmp_path, caplog):
    problems = {
        "fault.png": ZeroDivisionError("no\nnumber"),
        "small.png": UserError("an image of 9x9 px: too small"),
        "good.png": None,
        "named.png": UserError("named.png: damaged"),
        "odd\x1b.png": UserError("odd\x1b.png: damaged"),
        "output.png": UserError("output.png.jpg: exists already"),
        "full.png": OSError(errno.ENOSPC, "disk full", "/tmp/x"),
        "memory.png": MemoryError(),
    }

    def job(path, output):
        if problems[path]:
            raise problems[path]
        return Done(Record(path, "compressed"), {})

    json = tmp_path / "x.jsonl"
    pairs = [(path, f"{path}.jpg") for path in problems]
    with RecordFile(json) as records:
        done = list(run_batch(job, pairs, 1, records))
    assert [i.record.error for i in done] == [r.error for r in read_records(json)]
    fault = "a fault of this program (ZeroDivisionError: no\\nnumber); please report it"
    memory = "not enough memory; lower --workers, or scale the image down"
    assert [item.record.error for item in done] == [
        f"fault.png: {fault}",
        "small.png: an image of 9x9 px: too small",
        None,
        "named.png: damaged",
        "odd\\x1b.png: damaged",
        "output.png.jpg: exists already",
        "full.png: /tmp/x: disk full",
        f"memory.png: {memory}",
    ]
    assert caplog.text.count("Traceback") == 1 and "in job" in caplog.text


@pytest.mark.parametrize("seconds, finished", [(0.05, ["short"]), (60, [])])
def test_ctrl_c_gives_up_what_is_not_done_soon(monkeypatch, seconds, finished):
    monkeypatch.setattr(batch, "_GRACE_SECONDS", 0.5 if finished else 0.01)
    done, is_over, main = [], threading.Event(), threading.main_thread().ident

    def job(path, output):
        is_over.wait(0.05)  # until the main thread waits for a result
        signal.pthread_kill(main, signal.SIGINT)
        is_over.wait(seconds)
        done.append(path)
        return Done(Record(path, "compressed"), {})

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(batch.run_batch(job, [("short", ""), ("never", "")], 1))
        assert done == finished
    finally:
        signal.signal(signal.SIGINT, before)
        is_over.set()


@pytest.mark.parametrize("flags", ["--tune ms-ssim", "--target_ms_ssim 0.9"])
def test_an_image_that_is_too_small_is_named(tmp_path, capsys, flags):
    save_png(tmp_path / "a.png")
    flags = f"--quantization search {flags}".split()
    assert compress_pil(tmp_path / "a.png", *flags) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "error: " in x]
    assert line.startswith(f"error: {tmp_path / 'a.png'}: ")
    assert line.count(str(tmp_path)) == 1 and "needs sides of at least" in line


def test_work_waits_for_memory():
    budget, running, most = Budget(100, 8), [], []
    lock = threading.Lock()

    def work(amount):
        with budget.taken(amount):
            with lock:
                running.append(amount)
                most.append(sum(running))
            threading.Event().wait(0.005)
            with lock:
                running.remove(amount)

    amounts = [30, 60, 50, 20, 100, 40, 10, 90]
    workers = [threading.Thread(target=work, args=(a,)) for a in amounts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(most) == len(amounts) and max(most) <= 100


# (height, width) of images, and MB that their encoding took at --quality 75, measured
# as the peak of a process on two threads.
MEASURED = {(1424, 2144): 414, (4000, 6000): 1480}


@pytest.mark.parametrize("size", MEASURED)
def test_memory_of_large_images_is_what_was_measured(size):
    assert 1 <= memory_of(*size) / 1e6 / MEASURED[size] <= 1.2


def test_memory_of_a_small_image_is_close_to_what_it_takes():
    noise = np.random.default_rng(0).integers(-9, 10, (200, 300, 3))
    image = (noise + np.linspace(60, 180, 300)[:, np.newaxis]).astype(np.uint8)
    lj.encode(image, quality=75, effort=1)  # loads and compiles
    tracemalloc.start()
    try:
        lj.encode(image, quality=75, effort=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The arrays only: with what the allocator and threads keep it is twice as much.
    assert 0.3 <= peak / memory_of(*image.shape[:2]) <= 0.7


def test_what_is_larger_than_all_memory_runs_alone():
    budget = Budget(10, 1)
    with budget.taken(1000):
        pass
    with budget.taken(10), Budget(None, 1).taken(10**15):
        pass


def test_an_image_takes_the_cores_that_no_other_one_has():
    """Also those of images that wait for memory."""
    budget = Budget(100, 2)
    begun, may_end = threading.Event(), threading.Event()

    def names_of_threads():
        """Names the threads of two tasks, which wait for each other on two cores."""
        both = threading.Barrier(2)

        def name(task):
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.5)
            return threading.current_thread().name

        return set(threads.run(name, range(2)))

    def other(amount):
        with budget.taken(amount):
            begun.set()
            may_end.wait()

    for amount, count in ((50, 1), (100, 2)):
        with budget.taken(50):
            worker = threading.Thread(target=other, args=(amount,))
            worker.start()
            if amount == 50:
                begun.wait()
            assert len(names_of_threads()) == count
            may_end.set()
        worker.join()
        may_end.clear()

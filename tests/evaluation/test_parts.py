"""Evaluations that several processes share: who takes what, and the same numbers."""

import itertools
import os

import pytest

from evaluation import evaluator, parts
from evaluation.operating_points import OperatingPoint
from learned_jpeg.commands.shards import Shard, ShardFolder
from learned_jpeg.common.errors import UserError
from tests.test_evaluate import run_evaluate, save_images, save_tables

POINTS = [OperatingPoint(f"run-lambda_{i}", "", "run", "run", {}) for i in range(40)]


def units(index, count, points, found):
    return parts.units_of(Shard(index, count), points, found)


def test_every_point_is_one_shards_and_stays_there_when_others_are_added():
    taken = [[u.name for u in units(i, 4, POINTS[::2], ["a"] * 500)] for i in range(4)]
    assert sorted(itertools.chain(*taken)) == sorted(
        point.name for point in POINTS[::2]
    )
    assert all(taken)
    for index in range(4):
        names = {unit.name for unit in units(index, 4, POINTS, ["a"])}
        assert set(taken[index]) == names & {point.name for point in POINTS[::2]}


def test_of_more_images_every_one_of_a_point_is_one_shards():
    found = [f"{i}.png" for i in range(1700)]
    pairs, loads = [], []
    for index in range(6):
        own = units(index, 6, POINTS, found)
        own = [(unit.name, path) for unit in own for path in unit.paths]
        pairs += own
        loads.append(len(own))
    assert len(pairs) == len(set(pairs)) == len(found) * len(POINTS)
    assert min(loads) / max(loads) > 0.5
    # Nobody's share of one operating point is much more than what a unit is to be.
    assert max(len(u.paths) for u in units(0, 1000, POINTS, found)) < 2 * 500


@pytest.fixture
def small(tmp_path, monkeypatch):
    """(batch folder, image folder) of three images, which are many."""
    monkeypatch.setattr(parts, "IMAGES_OF_UNIT", 2)
    save_tables(tmp_path / "batch" / "run" / "lambda_001", 40)
    return tmp_path / "batch", save_images(tmp_path / "images")


@pytest.fixture
def measured(monkeypatch):
    """A list that grows by each (operating point's file) that is measured."""
    outputs = []
    measure = evaluator.Evaluator._measure

    def noted(self, encode, path, output):
        outputs.append(os.fspath(output))
        return measure(self, encode, path, output)

    monkeypatch.setattr(evaluator.Evaluator, "_measure", noted)
    return outputs


def files_of(folder):
    """dict from the name of each file of an evaluation to its bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run(small, output, *flags):
    return run_evaluate(*small, "--output_dir", output, *flags)


@pytest.mark.slow
@pytest.mark.parametrize("images_of_unit", [2, 500])
def test_shards_give_the_files_of_one_process(
    small, measured, tmp_path, monkeypatch, images_of_unit
):
    monkeypatch.setattr(parts, "IMAGES_OF_UNIT", images_of_unit)
    assert run(small, tmp_path / "one").status == 0
    wanted = sorted(os.path.relpath(path, tmp_path / "one") for path in measured)
    assert len(wanted) == 3 * 3
    measured.clear()
    for index in range(3):
        outcome = run(small, tmp_path / "three", "--shard", f"{index}/3")
        assert outcome.status == 0
        # A second time it finds all of its share.
        done = list(measured)
        assert run(small, tmp_path / "three", "--shard", f"{index}/3").status == 0
        assert measured == done
    assert sorted(os.path.relpath(p, tmp_path / "three") for p in measured) == wanted
    measured.clear()
    outcome = run(small, tmp_path / "three")
    assert (outcome.status, measured) == (0, [])
    assert files_of(tmp_path / "three") == files_of(tmp_path / "one")


def test_the_call_that_gathers_says_what_is_missing_and_plots_the_rest(
    small, measured, tmp_path
):
    # Shares depend on the paths: the one that is left out must have something to do.
    shares = []
    for index in range(3):
        assert run(small, tmp_path / "each", "--shard", f"{index}/3").status == 0
        shares.append(len(measured) - sum(shares))
    last = shares.index(max(shares))
    measured.clear()
    out = tmp_path / "out"
    for index in {0, 1, 2} - {last}:
        assert run(small, out, "--shard", f"{index}/3").status == 0
    done = len(measured)
    assert done == 9 - shares[last] < 9
    outcome = run(small, out)
    assert outcome.status == 1
    missing = outcome.lines("images are missing, of the shards")
    assert missing and all(f"{last}/3" in line for line in missing)
    assert len(measured) == done
    assert (out / "results.md").exists()
    assert run(small, out, "--shard", f"{last}/3").status == 0
    assert run(small, out).status == 0
    assert len(measured) == 9


def test_a_shard_that_was_killed_goes_on_after_its_last_whole_row(
    small, measured, tmp_path
):
    assert run(small, tmp_path / "one").status == 0
    measured.clear()
    out = tmp_path / "out"
    assert run(small, out, "--shard", "0/1").status == 0
    assert len(measured) == 9
    rows = out / "_shards" / "Q5" / "0.jsonl"
    rows.write_bytes(rows.read_bytes()[:-30])
    measured.clear()
    assert run(small, out, "--shard", "0/1").status == 0
    assert len(measured) == 1 and "/Q5/" in measured[0]
    assert run(small, out).status == 0
    assert files_of(out) == files_of(tmp_path / "one")


def test_of_images_that_are_added_only_those_are_measured(small, measured, tmp_path):
    _batch, images = small
    (images / "b.png").rename(tmp_path / "b.png")
    out = tmp_path / "out"
    assert run(small, out, "--shard", "0/1").status == 0
    assert run(small, out).status == 0
    (tmp_path / "b.png").rename(images / "b.png")
    measured.clear()
    assert run(small, out, "--shard", "0/1").status == 0
    assert [os.path.basename(path) for path in measured] == ["b.jpg"] * 3
    assert run(small, out).status == 0
    assert run(small, tmp_path / "one").status == 0
    assert files_of(out) == files_of(tmp_path / "one")


def test_rows_of_another_checkpoint_are_measured_again(small, measured, tmp_path):
    batch, _images = small
    out = tmp_path / "out"
    assert run(small, out, "--shard", "0/1").status == 0
    save_tables(batch / "run" / "lambda_001", 20)
    outcome = run(small, out)
    assert outcome.lines("run-lambda_001: 3 images are missing")
    measured.clear()
    assert run(small, out, "--shard", "0/1").status == 0
    assert len(measured) == 3
    assert run(small, out).status == 0


def test_shards_of_another_number_or_call_lose_nothing(small, tmp_path):
    out = tmp_path / "out"
    assert run(small, out, "--shard", "0/3").status == 0
    before = files_of(out)
    with pytest.raises(UserError, match="--shard 0/4: .* begun as 3 shards"):
        run(small, out, "--shard", "0/4")
    for flags in (["--shard", "1/3"], []):
        with pytest.raises(UserError, match="entropy_coding standard -> optimized"):
            run(small, out, "--entropy_coding", "optimized", *flags)
    assert files_of(out) == before


def test_two_processes_of_one_shard_are_refused(tmp_path):
    folder = ShardFolder(tmp_path)
    refused = pytest.raises(UserError, match="--shard 1/2: another process")
    with folder.entered(Shard(0, 2), {}), folder.entered(Shard(1, 2), {}), refused:
        folder.entered(Shard(1, 2), {}).__enter__()
    with folder.entered(Shard(1, 2), {}):
        pass


def test_what_says_nothing_of_its_call_is_refused(tmp_path):
    folder = ShardFolder(tmp_path)
    for text in ("{", "[]", '{"shards": "2", "call": {}}'):
        os.makedirs(folder.path, exist_ok=True)
        (tmp_path / "_shards" / "call.json").write_text(text)
        with pytest.raises(UserError, match="does not say which call"):
            folder.entered(Shard(0, 2), {}).__enter__()

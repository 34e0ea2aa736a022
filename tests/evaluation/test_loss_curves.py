"""loss_curves.py on events that were written by hand."""

import json
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import arg_parser
from evaluation import loss_curves
from learned_jpeg.common.errors import UserError
from tests.records import record_of


def write_events(
    folder, losses, first_step=0, first_second=1000.0, name="a", first_loss=None
):
    """An event every 100 steps and 20 seconds; the first one has no mean as a rule."""
    folder.mkdir(parents=True, exist_ok=True)
    record = record_of("ljpeg", lmbda=lambda_of(folder))
    (folder / "settings.json").write_text(json.dumps(record))
    with tf.Graph().as_default():
        writer = tf.summary.FileWriter(str(folder), filename_suffix=f".{name}")
        for index, loss in enumerate([first_loss, *losses]):
            summary = tf.Summary()
            summary.value.add(tag="loss", simple_value=77.0)
            if loss is not None:
                summary.value.add(tag="mean_loss", simple_value=loss)
            event = tf.Event(
                step=first_step + 100 * index,
                wall_time=first_second + 20.0 * index,
                summary=summary,
            )
            writer.add_event(event)
        writer.close()


def lambda_of(folder):
    return float("0." + folder.parent.name.removeprefix("lambda_0"))


def call(monkeypatch, capsys, *argv):
    monkeypatch.setattr("sys.argv", ["loss_curves.py", *map(str, argv)])
    assert loss_curves.main() == 0
    return capsys.readouterr().out


def test_curves_are_kept_and_summed_up(monkeypatch, capsys, tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    write_events(runs / "one" / "lambda_001" / "train", [9, 5, 4, 3.0])
    write_events(runs / "one" / "lambda_002" / "train", [8, 4, 2, 2.5])
    text = call(monkeypatch, capsys, runs, results)
    (row,) = (line for line in text.splitlines() if line.startswith("| one"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # 80 seconds; the last quarter is one entry.
    assert cells == ["one", "2", "400", "1.3", "-25.0 to +25.0 %"]
    kept = (results / "one" / "loss.csv").read_text()
    assert kept.splitlines()[:4] == [
        "lambda,step,mean_loss,seconds",
        "0.01,0,77,0",
        "0.01,100,9,20",
        "0.01,200,5,40",
    ]
    assert (results / "loss_curves.png").stat().st_size > 5000


def test_what_another_call_kept_stays(monkeypatch, capsys, tmp_path):
    first, second, results = (tmp_path / n for n in ("first", "second", "results"))
    write_events(first / "one" / "lambda_001" / "train", [9, 5, 4, 3.0])
    write_events(first / "one" / "lambda_002" / "train", [9, 5, 4, 3.0])
    write_events(first / "two" / "lambda_001" / "train", [9, 5, 4, 3.0])
    write_events(second / "one" / "lambda_002" / "train", [8, 7, 6, 6.0])
    (second / "one" / "lambda_003" / "train").mkdir(parents=True)  # without events
    call(monkeypatch, capsys, first, results)
    text = call(monkeypatch, capsys, second, results)
    assert "| two" in text
    kept = loss_curves.read_csv(str(results / "one" / "loss.csv"))
    assert set(kept) == {0.01, 0.02}
    assert [loss for _, loss, _ in kept[0.01]] == [77, 9, 5, 4, 3]
    assert [loss for _, loss, _ in kept[0.02]] == [77, 8, 7, 6, 6]


def test_a_training_that_went_on_replaces_what_it_repeats(tmp_path):
    folder = tmp_path / "lambda_001" / "train"
    write_events(folder, [9, 5, 4.0])
    write_events(folder, [3, 2.0], first_step=200, first_second=2000, name="b")
    assert loss_curves.read_events(str(folder)) == [
        (0, 77.0, 0.0),
        (100, 9.0, 20.0),
        (200, 5.0, 40.0),
        (300, 3.0, 80.0),
        (400, 2.0, 100.0),
    ]


def test_a_training_may_go_on_between_two_summaries(tmp_path):
    folder = tmp_path / "lambda_001" / "train"
    write_events(folder, [9, 5.0])
    soon = time.time() + 100
    write_events(folder, [], 300, soon, "b", first_loss=4.0)
    *before, (step, loss, seconds) = loss_curves.read_events(str(folder))
    assert before == [(0, 77.0, 0.0), (100, 9.0, 20.0), (200, 5.0, 40.0)]
    assert (step, loss) == (300, 4.0)
    assert seconds == pytest.approx(140, abs=5)


def test_an_event_file_that_is_cut_off_counts_to_its_end(tmp_path, caplog):
    folder = tmp_path / "lambda_001" / "train"
    write_events(folder, [9, 5, 4.0])
    (path,) = folder.glob("events.*")
    path.write_bytes(path.read_bytes()[:-5])
    assert [loss for _, loss, _ in loss_curves.read_events(str(folder))] == [77, 9, 5]
    assert "cut off" in caplog.text


def test_lines_are_relative_to_the_mean_of_the_last_quarter():
    points = [(step, 2.0 + 100 / step, 0.0) for step in range(100, 900, 100)]
    figure = loss_curves.loss_figure({"run": {0.01: points, 0.02: points[:4]}})
    first, second = figure.axes[0].get_lines()
    end = np.mean([points[6][1], points[7][1]])
    np.testing.assert_allclose(first.get_xdata(), np.arange(100, 900, 100))
    np.testing.assert_allclose(first.get_ydata(), [p[1] / end for p in points])
    np.testing.assert_allclose(second.get_ydata()[-1], 1.0)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_events_are_a_user_error(monkeypatch, capsys, tmp_path, name):
    write_events(tmp_path / "old" / "one" / "lambda_001" / "train", [9, 5, 4, 3.0])
    call(monkeypatch, capsys, tmp_path / "old", tmp_path)
    (tmp_path / "empty").mkdir()
    argv = ["loss_curves.py", str(tmp_path / name), str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(UserError, match=f"{name}: no events with a mean loss"):
        loss_curves.main()


def test_events_without_settings_are_a_user_error(monkeypatch, tmp_path):
    folder = tmp_path / "one" / "lambda_001" / "train"
    write_events(folder, [9, 5.0])
    (folder / "settings.json").unlink()
    monkeypatch.setattr("sys.argv", ["loss_curves.py", str(tmp_path), str(tmp_path)])
    with pytest.raises(UserError, match="without settings.json"):
        loss_curves.main()


def test_a_training_of_one_summary_is_too_short_to_tell():
    curves = {"one": {0.01: [(100, 9.0, 20.0)]}}
    assert "too short" in loss_curves.flatness_table(curves)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n",
        "lambda,step,mean_loss,seconds\n",
        "lambda,step,mean_loss,seconds\n1,2\n",
    ],
)
def test_foreign_csv_is_a_user_error(tmp_path, text):
    path = tmp_path / "loss.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"loss\.csv: not written by"):
        loss_curves.read_csv(str(path))


def test_flags():
    args = arg_parser.parse_loss_curves(["runs", "results"])
    assert (args.batch_dir, args.output_dir) == ("runs", "results")

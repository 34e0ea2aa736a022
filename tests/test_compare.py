"""compare.py: curves of several evaluations against one anchor."""

import re

import numpy as np
import pytest

import compare
import results
from errors import UserError

IMAGES = ["a.png", "b.png"]
RATES = np.array([0.2, 0.35, 0.6, 0.9, 1.3])


def write_curve(folder, part, names, settings, factors, images=IMAGES):
    """Dots of PSNR 30 + 10 log10(bpp); rates of each image times its factor."""
    for name, rate in zip(names, RATES, strict=True):
        quality = 30 + 10 * np.log10(rate)
        rows = [
            {
                "bpp": rate * factor,
                "mse": 255**2 * 10 ** (-quality / 10),
                "lpips": 0.5 / (1 + rate),
                "psnr": quality,
                "ms-ssim": 1 - 0.05 / rate,
            }
            for factor in factors
        ]
        results.save(
            str(folder / part),
            name,
            results.DotResults.from_rows(images, rows),
            {"images": [{"name": image} for image in images]},
            settings=settings,
        )


@pytest.fixture
def folders(tmp_path):
    first, second = tmp_path / "default", tmp_path / "rdoq"
    qualities = [f"Q{q}" for q in (5, 10, 20, 40, 70)]
    write_curve(
        first, "_output_PIL", qualities, {"entropy_coding": "default"}, (1.0, 1.0)
    )
    coding = {"entropy_coding": "optimized", "quantization": "rdoq"}
    names = [f"my-run-lambda_{i}" for i in range(5)]
    write_curve(second, "_output", names, coding, (0.5, 0.9))
    return [str(first), str(second)]


def run(monkeypatch, capsys, argv):
    monkeypatch.setattr("sys.argv", ["compare.py", *argv])
    assert compare.main() == 0
    return capsys.readouterr().out


def test_table_has_the_bd_rates_of_the_means_and_the_worst_image(
    monkeypatch, capsys, folders
):
    text = run(monkeypatch, capsys, folders)
    assert "against JPEG, default, 0.2 to 1.2 bpp, 2 images" in text
    (row,) = re.findall(r"\| my-run, optimized, rdoq +\|(.*)\|", text)
    cells = [cell.strip() for cell in row.split("|")]
    # Every rate is 0.7 of the anchor's at the same quality; image b takes 0.9.
    assert cells == ["-30.0 %", "-30.0 %", "-30.0 %", "b -10.0 %"]


def test_curves_are_read_in_the_order_of_their_rates(folders):
    (curve,) = compare.read_curves(folders[1])
    assert (curve.name, curve.kind) == ("my-run", "run")
    rates = [bpp for bpp, _ in curve.points("psnr")]
    np.testing.assert_allclose(rates, 0.7 * RATES)
    np.testing.assert_allclose(
        [bpp for bpp, _ in curve.points("psnr", image=1)], 0.9 * RATES
    )


def test_runs_choose_and_figures_are_written(monkeypatch, capsys, folders, tmp_path):
    figures = tmp_path / "figures"
    table = tmp_path / "table.md"
    argv = [*folders, "--figure_dir", str(figures), "-o", str(table)]
    text = run(monkeypatch, capsys, [*argv, "--runs", "another"])
    assert "my-run" not in text
    assert table.read_text() in text
    assert sorted(p.name for p in figures.iterdir()) == [
        "lpips.png",
        "ms_ssim.png",
        "mse.png",
        "psnr.png",
    ]


def test_first_folder_without_jpeg_is_a_user_error(monkeypatch, folders):
    monkeypatch.setattr("sys.argv", ["compare.py", folders[1]])
    with pytest.raises(UserError, match="no _output_PIL"):
        compare.main()


def test_other_test_images_are_a_user_error(monkeypatch, folders, tmp_path):
    other = tmp_path / "other"
    names = [f"my-run-lambda_{i}" for i in range(5)]
    coding = {"entropy_coding": "default"}
    write_curve(other, "_output", names, coding, (1.0, 1.0), ["a.png", "c.png"])
    monkeypatch.setattr("sys.argv", ["compare.py", folders[0], str(other)])
    with pytest.raises(UserError, match="other test images"):
        compare.main()


def test_half_a_record_is_a_user_error(folders, tmp_path):
    (tmp_path / "rdoq" / "_output" / "my-run-lambda_2.csv").write_text("image,bpp\n")
    with pytest.raises(UserError, match=r"my-run-lambda_2\.json.*evaluate again"):
        compare.read_curves(folders[1])

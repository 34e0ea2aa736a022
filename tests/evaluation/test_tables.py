"""Tests of tables: what stands in the cells."""

from evaluation import tables
from tests.evaluation.helpers import (
    BPP,
    MEANS,
)


def points_of(factor=1.0, points=slice(None)):
    names = ("bpp", *MEANS)
    rows = zip([factor * bpp for bpp in BPP], *MEANS.values(), strict=True)
    return [{**dict(zip(names, row, strict=True)), "mse": 1.0} for row in rows][points]


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "not aligned"
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines]


def test_bd_rate_table_tells_percent_overlap_and_what_is_missing():
    curves = {
        "run": points_of(0.8),
        "short": points_of(points=slice(2)),
        "far": [{**point, "psnr": point["psnr"] + 50} for point in points_of()],
    }
    table = tables.bd_rate_table("JPEG", points_of(), list(curves.items()))
    header, rule, run, short, far = cells(table)
    assert header == ["run", "PSNR [dB]", "MS-SSIM [dB] †", "LPIPS †", "SSIMULACRA2"]
    assert set("".join(rule)) == {"-", ":"}
    assert run[1:] == [
        "-20.0 % (24.0 to 36.4)",
        "-20.0 % (7.2 to 21.5)",
        "-20.0 % (0.450 to 0.020)",
        "-20.0 % (-24.0 to 77.0)",
    ]
    assert short[1:] == ["2 of 4 points"] * 4
    assert far[1] == "no overlap" and far[2].startswith("+0.0 % ")
    assert "against JPEG" in table and "*" not in table


def test_bd_rate_table_marks_curves_with_points_left_out():
    points = [*points_of(0.8), {**points_of()[0], "bpp": 1.9}]
    table = tables.bd_rate_table("JPEG", points_of(), [("run", points)], (0.3, 1.2))
    assert all(cell.startswith("-20.0 %* (") for cell in cells(table)[2][1:])
    assert "0.3 to 1.2 bpp" in table and "\n\n* without" in table


def test_bd_rate_table_says_who_chose_by_which_metric():
    table = tables.bd_rate_table(
        "JPEG",
        points_of(),
        [("run", points_of(0.8))],
        minimised={"run": frozenset({"psnr", "ms-ssim"}), "plain": frozenset()},
    )
    note = table.splitlines()[-1]
    assert note == (
        "† outside judge: no default was chosen by it. Defaults were chosen by PSNR, "
        "SSIMULACRA2. PSNR is minimised by run. MS-SSIM is minimised by run."
    )


def test_names_stay_in_their_cells():
    table = tables.markdown_table(["run", "x"], [["a|b\n\x1b[31m", "1"]])
    assert table.splitlines()[2] == r"| a\|b\n\x1b[31m |   1 |"


def test_bd_rate_table_has_no_number_where_a_metric_was_not_measured():
    old = [{**point, "ssimulacra2": float("nan")} for point in points_of(0.8)]
    for anchor, curve in ((points_of(), old), (old, points_of())):
        table = tables.bd_rate_table("JPEG", anchor, [("run", curve)])
        run = cells(table)[2]
        assert "%" in run[1] and run[4] == "no values" and "*" not in table
    mixed = [*old[:2], *points_of(0.8)[2:]]
    table = tables.bd_rate_table("JPEG", points_of(), [("run", mixed)])
    assert cells(table)[2][4] == "-20.0 %* (33.5 to 77.0)"


def test_butteraugli_has_a_column_where_it_was_measured():
    points = [{**d, "butteraugli": 4 / (i + 1)} for i, d in enumerate(points_of())]
    faster = [{**point, "bpp": 0.7 * point["bpp"]} for point in points]
    others = [{**point, "butteraugli": float("nan")} for point in points_of()]
    table = tables.bd_rate_table("JPEG", points, [("run", faster), ("old", others)])
    header, _, run, old = cells(table)
    assert header[-1] == "Butteraugli 3-norm"
    assert (run[-1], old[-1]) == ("-30.0 % (4.0 to 0.7)", "no values")
    header, _, row, old = cells(tables.summary_table({"a": points[1], "b": others[1]}))
    assert (header[-1], row[-1], old[-1]) == ("Butteraugli 3-norm", "2.00", "")


def test_summary_table_shows_the_means():
    point = {"bpp": 0.5, "psnr": 30.126, "ms-ssim": 0.95, "lpips": 0.125, "mse": 63.9}
    point["ssimulacra2"] = 42.375
    small = {**point, "ms-ssim": float("nan"), "ssimulacra2": float("nan")}
    _, _, row, undefined = cells(tables.summary_table({"Q20": point, "small": small}))
    assert row[:4] == ["Q20", "0.5000", "30.13", "0.9500"]
    assert row[4:] == ["13.01", "0.1250", "63.90", "42.38"]
    assert undefined[3] == "nan" and undefined[-1] == ""

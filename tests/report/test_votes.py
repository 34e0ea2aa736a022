"""Tests of votes: statistics against independent fits, controls, files of people."""

import json

import numpy as np
import pytest
from scipy import optimize, stats

from learned_jpeg.common.errors import UserError
from report import ballots, preference, votes

CODECS = ("ours", "moz $x$", "jpeg", "webp")


def votes_between(first, second, wins, ties, losses):
    choices = [first] * wins + [None] * ties + [second] * losses
    # Sides change by turns.
    sides = [(first, second), (second, first)]
    return [(*sides[i % 2], choice) for i, choice in enumerate(choices)]


MANY = [
    *votes_between("ours", "moz $x$", 9, 3, 2),
    *votes_between("moz $x$", "jpeg", 7, 1, 4),
    *votes_between("ours", "jpeg", 12, 0, 0),
    *votes_between("webp", "ours", 3, 2, 5),
]


def test_pairs_are_counted_whatever_side_they_were_on():
    found = {pair.codecs: pair for pair in preference.pairs_of(MANY)}
    assert found["ours", "moz $x$"].votes == (9, 3, 2)
    assert found["ours", "webp"].votes == (5, 2, 3)
    assert found["ours", "jpeg"].preference.value == 1
    assert len(found) == 4


@pytest.mark.parametrize("wins, count", [(0, 5), (3, 10), (50, 61), (7, 7)])
def test_interval_is_that_of_scipy(wins, count):
    share = preference.wilson(wins, count)
    wanted = stats.binomtest(wins, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(share, [wins / count, wanted.low, wanted.high])


def test_strengths_are_those_of_an_independent_fit():
    """SciPy minimises the likelihood; its curvature is taken by differences."""
    pairs = preference.pairs_of(MANY)
    names = list(CODECS)
    terms = []
    for pair in pairs:
        i, j = map(names.index, pair.codecs)
        first, none, second = pair.votes
        terms += [(i, j, first + none / 2 + 0.5), (j, i, second + none / 2 + 0.5)]

    def loss(free):
        strengths = np.array([*free, -sum(free)])
        return sum(
            count * np.logaddexp(0, strengths[j] - strengths[i])
            for i, j, count in terms
        )

    fit = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    wanted = np.array([*fit.x, -sum(fit.x)])
    step = 1e-3 * np.eye(3)
    curvature = [
        [
            sum(
                a * b * loss(fit.x + a * step[i] + b * step[j])
                for a in (1, -1)
                for b in (1, -1)
            )
            / 4e-6
            for j in range(3)
        ]
        for i in range(3)
    ]
    whole = np.vstack([np.eye(3), -np.ones(3)])
    errors = np.sqrt(np.diag(whole @ np.linalg.inv(curvature) @ whole.T))
    found = {s.codec: s for s in preference.strengths_of(pairs)}
    quantile = stats.norm.ppf(0.975)
    for name, strength, error in zip(names, wanted, errors, strict=True):
        ends = strength + quantile * error * np.array([0, -1, 1])
        assert found[name].log_odds == pytest.approx(strength, abs=1e-5)
        np.testing.assert_allclose(
            found[name].preference, 1 / (1 + np.exp(-ends)), 1e-4
        )
    order = [s.log_odds for s in preference.strengths_of(pairs)]
    assert order == sorted(order, reverse=True)


def test_strengths_need_three_codecs_that_are_compared():
    apart = [*votes_between("a", "b", 3, 0, 1), *votes_between("c", "d", 3, 0, 1)]
    assert preference.strengths_of(preference.pairs_of(apart[:4])) == []
    assert preference.strengths_of(preference.pairs_of(apart)) == []
    chain = [*apart, *votes_between("b", "c", 100, 0, 0)]
    found = preference.strengths_of(preference.pairs_of(chain))
    assert [s.codec for s in found] == ["a", "b", "c", "d"]
    assert np.isfinite([s.log_odds for s in found]).all()


# --- Files ----------------------------------------------------------------------------


def entry(kind, codecs, choice):
    return {"kind": kind, "codecs": list(codecs), "choice": choice, "image": "a.png"}


def controls(recognised=3, equal=2):
    """Three controls of each kind, so many of them right."""
    worse = [entry("worse", ("original", "worse"), "first")] * recognised
    worse += [entry("worse", ("worse", "original"), "first")] * (3 - recognised)
    same = [entry("same", ("ours", "ours"), "none")] * equal
    return worse + same + [entry("same", ("jpeg", "jpeg"), "second")] * (3 - equal)


def own_votes(wins=4, losses=1):
    won = [entry("pair", ("moz $x$", "ours"), "second")] * wins
    return won + [entry("pair", ("ours", "moz $x$"), "second")] * losses


@pytest.fixture
def write(tmp_path):
    """A function that writes the file of a person."""

    def write(name, entries, **changes):
        content = {"format": ballots.FORMAT, "version": ballots.VERSION, "test": "t"}
        content |= {"session": name, "voter": name, "votes": entries, **changes}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def run(monkeypatch, capsys, *argv):
    monkeypatch.setattr("sys.argv", ["votes.py", *map(str, argv)])
    assert votes.main() == 0
    return capsys.readouterr().out


def test_files_of_several_people_are_merged_without_who_fails(
    monkeypatch, capsys, write, tmp_path
):
    files = [
        write("anna", [*controls(), *own_votes(4, 1)]),
        write("ben", [*controls(recognised=2), *own_votes(0, 50)]),
        write("clara", [*controls(equal=3), *own_votes(3, 2)]),
        write("dan", [*controls(equal=1), *own_votes(0, 50)]),
        write("eve", own_votes(0, 50)),
    ]
    text = run(monkeypatch, capsys, *files, "-o", tmp_path / "out" / "x")
    assert "2 of 5 people count" in text
    assert f"{files[1]}: left out, recognised 2 of 3 plainly worse images." in text
    assert f"{files[3]}: left out, called 1 of 3 pairs of identical files" in text
    assert f"{files[4]}: left out, too few controls were seen" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| moz $x$ ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    low, high = stats.binomtest(3, 10).proportion_ci(0.95, method="wilson")
    wanted = ["moz $x$", "ours", "30%", f"{low:.0%} to {high:.0%}", "3", "0", "7"]
    assert cells == wanted
    assert (tmp_path / "out" / "x.md").read_text() in text
    assert (tmp_path / "out" / "x.png").stat().st_size > 5000


def test_two_files_of_one_session_count_once(write):
    early = ballots.read_ballot(write("early", own_votes(1, 0), session="s"))
    late = ballots.read_ballot(write("late", own_votes(3, 1), session="s"))
    assert ballots.merged([early, late]) == ballots.merged([late, early]) == [late]


def test_votes_of_another_page_are_one_line(write):
    first = ballots.read_ballot(write("a", own_votes()))
    other = ballots.read_ballot(write("b", own_votes(), test="another"))
    with pytest.raises(UserError, match=r"b\.json: of another test than .*a\.json"):
        ballots.merged([first, other])


def test_without_votes_nothing_is_written(monkeypatch, capsys, write, tmp_path):
    path = write("eve", own_votes())
    with pytest.raises(UserError, match="no votes are left"):
        run(monkeypatch, capsys, path, "-o", tmp_path / "x")
    assert not (tmp_path / "x.md").exists()


def test_figure_has_a_row_for_each_pair_and_codec():
    pairs = preference.pairs_of(MANY)
    figure = votes.votes_figure(pairs, preference.strengths_of(pairs))
    upper, lower = figure.axes
    labels = [text.get_text() for text in upper.get_yticklabels()]
    assert labels == [" over ".join(pair.codecs) for pair in pairs]
    assert not upper.get_yticklabels()[0].get_parse_math()
    dots = [line for line in lower.get_lines() if line.get_marker() == "o"]
    found = [line.get_xdata()[0] for line in dots]
    wanted = [100 * s.preference.value for s in preference.strengths_of(pairs)]
    np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"format": "votes of a learned-jpeg report", "version": 9}',
        '{"format": "votes of a learned-jpeg report", "version": 1}',
        "[" * 100_000,
    ],
)
def test_other_files_are_one_line(tmp_path, text):
    path = tmp_path / "votes.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        ballots.read_ballot(str(path))
    assert str(caught.value).startswith(f"{path}: no votes: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="No such file"):
        ballots.read_ballot(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {},
        entry("pair", ("a", "b"), "third"),
        entry("x", ("a", "b"), "first"),
        entry("pair", ("a", "a"), "first"),
        entry("same", ("a", "b"), "first"),
        entry("pair", ("a", "b", "c"), "first"),
        entry("pair", (1, 2), "first"),
        entry(["pair"], ("a", "b"), "first"),
    ],
)
def test_odd_votes_are_one_line(write, wrong):
    path = write("x", [*own_votes(), wrong])
    with pytest.raises(UserError, match=r"x\.json: no votes: "):
        ballots.read_ballot(path)

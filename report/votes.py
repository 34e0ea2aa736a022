"""Merges the votes of a report's blind test into one table and one plot.

`python3 -m report.votes anna.json ben.json -o votes` writes `votes.md` and `votes.png`.
The page of a report exports the files. Whoever fails the hidden controls is left out.
"""

import os
from collections.abc import Sequence

import arg_parser
from evaluation.plots import new_figure, save_figure, style_axes
from evaluation.tables import markdown_table
from learned_jpeg.common.atomic_files import write_atomically
from learned_jpeg.common.errors import UserError
from learned_jpeg.common.process import run_main
from report.ballots import Ballot, Vote, merged, read_ballot
from report.preference import Pair, Share, Strength, pairs_of, strengths_of

_COLOUR = "#0072B2"  # blue, as in plots.py
_ROW_INCHES = 0.34


def main() -> int:
    """Merges the files of the command line; returns the exit status."""
    args = arg_parser.parse_votes()
    ballots = merged([read_ballot(path) for path in args.files])
    counted = [ballot for ballot in ballots if not ballot.failure]
    text = report_text(ballots)
    print(text)
    votes = [vote for ballot in counted for vote in ballot.pairs]
    if not votes:
        raise UserError("no votes are left; nothing was written")
    pairs = preferences(votes)
    os.makedirs(os.path.dirname(args.output) or ".", exist_ok=True)
    table = f"{args.output}.md"
    write_atomically(table, f"{text}\n".encode(errors="surrogateescape"))
    plot = save_figure(votes_figure(pairs, strengths_of(pairs)), f"{args.output}.png")
    print("\nWritten:", table, plot, sep="\n  ")
    return 0


def preferences(votes: Sequence[Vote]) -> list[Pair]:
    """Returns the `Pair` of each two codecs that were compared."""
    return pairs_of((*vote.codecs, vote.preferred) for vote in votes)


def report_text(ballots: Sequence[Ballot]) -> str:
    """Returns who voted and what was preferred, as Markdown."""
    counted = [ballot for ballot in ballots if not ballot.failure]
    pairs = preferences([vote for ballot in counted for vote in ballot.pairs])
    parts = [
        f"Blind test {ballots[0].test}: {len(counted)} of {len(ballots)} people count.",
        markdown_table(
            ["voter", "votes", "worse seen", "same seen", "counts"],
            [_voter_row(ballot) for ballot in ballots],
        ),
    ]
    parts += [
        f"{ballot.path}: left out, {ballot.failure}."
        for ballot in ballots
        if ballot.failure
    ]
    if pairs:
        header = ["preferred", "over", "preference", "95 %", "for", "none", "against"]
        parts.append(markdown_table(header, [_pair_row(pair) for pair in pairs]))
        parts.append(
            "A preference is the part of the votes, those for no difference by half."
        )
    if strengths := strengths_of(pairs):
        header = ["codec", "preferred over an average codec", "95 %", "log odds"]
        parts.append("Strengths by Bradley and Terry, from all pairs together:")
        parts.append(markdown_table(header, [_strength_row(s) for s in strengths]))
    return "\n\n".join(parts)


def _voter_row(ballot):
    seen = ("{} of {}".format(*c) for c in (ballot.recognised, ballot.called_equal))
    counts = "no" if ballot.failure else "yes"
    return [ballot.voter or ballot.path, str(len(ballot.pairs)), *seen, counts]


def _pair_row(pair):
    votes = map(str, pair.votes)
    return [*pair.codecs, *_share_cells(pair.preference), *votes]


def _strength_row(strength):
    cells = _share_cells(strength.preference)
    return [strength.codec, *cells, f"{strength.log_odds:+.2f}"]


def _share_cells(share: Share):
    return f"{share.value:.0%}", f"{share.low:.0%} to {share.high:.0%}"


def votes_figure(pairs: Sequence[Pair], strengths: Sequence[Strength]):
    """Draws the preference of each pair, and the strengths where there are any.

    Returns:
      `matplotlib.figure.Figure`, an interval a row.
    """
    rows = [(" over ".join(pair.codecs), pair.preference) for pair in pairs]
    panels = [(rows, "preferred [% of the votes]")]
    if strengths:
        rows = [(strength.codec, strength.preference) for strength in strengths]
        panels.append((rows, "preferred over an average codec [%]"))
    heights = [len(rows) + 1.5 for rows, _ in panels]
    figure = new_figure((6.4, _ROW_INCHES * sum(heights) + 0.6))
    grid = figure.subplots(
        len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes, (rows, label) in zip(grid.flat, panels, strict=True):
        _draw_shares(axes, rows, label)
    figure.subplots_adjust(hspace=0.5)
    return figure


def _draw_shares(axes, rows, label):
    """Draws a list of (text, `Share`) from top to bottom."""
    places = range(len(rows))
    for place, (_, share) in zip(places, rows, strict=True):
        axes.plot([100 * share.low, 100 * share.high], [place] * 2, color=_COLOUR)
        axes.plot(100 * share.value, place, "o", color=_COLOUR, clip_on=False)
    axes.axvline(50, color="#555555", linestyle="--", linewidth=1)
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5), xlabel=label)
    axes.set_yticks(places, [text for text, _ in rows], parse_math=False)
    style_axes(axes)


if __name__ == "__main__":
    run_main(main)

"""Statistics of votes between two images: preferences and strengths with intervals.

The script of the report's page computes the same (page/preference.js), and a test
compares both. A vote for no difference counts half for each side, as of two votes that
contradict each other. All votes count as independent of each other.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
_QUANTILE = 1.959963984540054  # of the normal distribution, two-sided

# Votes for no difference that each pair of compared codecs gets in addition. Without
# them a codec that is always preferred would have an infinite strength.
_PRIOR_TIES = 1.0

_STEPS = 100  # of Newton's method, which needs about ten


class Share(NamedTuple):
    """A part of all votes, or a probability, with its 95 % interval."""

    value: float
    low: float
    high: float


class Pair(NamedTuple):
    """The votes between two codecs.

    Attributes:
      codecs: their two names.
      votes: number of votes for the first, for none, for the second.
      preference: `Share` of the votes for the first, where a vote for no difference is
        half a vote.
    """

    codecs: tuple[str, str]
    votes: tuple[int, int, int]
    preference: Share


class Strength(NamedTuple):
    """How much a codec is preferred, by all pairs together.

    Attributes:
      codec: its name.
      log_odds: natural logarithm of the odds that it is preferred over an average
        codec.
      preference: `Share`, the probability that belongs to these odds.
    """

    codec: str
    log_odds: float
    preference: Share


def pairs_of(votes: Iterable[tuple[str, str, str | None]]) -> list[Pair]:
    """Counts votes by pairs of codecs, in the order of the codecs' first votes.

    Args:
      votes: (one codec, the other codec, the preferred one or None) of each vote.
    """
    votes = list(votes)
    counts = {pair: [0, 0, 0] for pair in itertools.combinations(codecs_of(votes), 2)}
    for first, second, choice in votes:
        pair = (first, second) if (first, second) in counts else (second, first)
        place = 1 if choice is None else 2 * pair.index(choice)
        counts[pair][place] += 1
    return [
        Pair(pair, tuple(count), wilson(count[0] + count[1] / 2, sum(count)))
        for pair, count in counts.items()
        if any(count)
    ]


def codecs_of(votes: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """Returns the codecs of some votes in the order in which they come first."""
    return list(dict.fromkeys(codec for vote in votes for codec in vote[:2]))


def wilson(wins: float, count: int) -> Share:
    """Returns the part of `wins` in `count` votes with Wilson's interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", 1927. With halves of votes the interval is wider than it needs to be.
    """
    share, square = wins / count, _QUANTILE**2 / count
    middle = share + square / 2
    spread = np.sqrt(square * (share * (1 - share) + square / 4))
    low, high = ((middle + sign * spread) / (1 + square) for sign in (-1, 1))
    return Share(share, float(low), float(high))


def strengths_of(pairs: Sequence[Pair]) -> list[Strength]:
    """Fits the Bradley-Terry model; the strongest codec comes first.

    R. A. Bradley and M. E. Terry, "Rank analysis of incomplete block designs", 1952:
    the odds that one codec is preferred over another are the ratio of their strengths.
    The logarithms of the strengths have the mean 0. Intervals follow from the curvature
    of the likelihood.

    Returns:
      List of `Strength`; empty for fewer than three codecs, and where some of them are
      not compared with the others, not even by way of further ones.
    """
    codecs = list(dict.fromkeys(codec for pair in pairs for codec in pair.codecs))
    wins = np.zeros((len(codecs), len(codecs)))
    for pair in pairs:
        i, j = map(codecs.index, pair.codecs)
        first, none, second = pair.votes
        wins[i, j] = first + (none + _PRIOR_TIES) / 2
        wins[j, i] = second + (none + _PRIOR_TIES) / 2
    if len(codecs) < 3 or not _is_connected(wins):
        return []
    log_odds, covariance = _bradley_terry(wins)
    spreads = _QUANTILE * np.sqrt(np.diag(covariance))
    found = [
        Strength(codec, float(log_odds[i]), _share(log_odds[i], spreads[i]))
        for i, codec in enumerate(codecs)
    ]
    return sorted(found, key=lambda strength: -strength.log_odds)


def _share(log_odds, spread):
    ends = (log_odds, log_odds - spread, log_odds + spread)
    return Share(*(float(_logistic(end)) for end in ends))


def _logistic(x):
    return 1 / (1 + np.exp(-x))


def _is_connected(wins):
    """Returns whether each codec is compared with each, if by way of others."""
    reached = np.linalg.matrix_power(np.eye(len(wins)) + (wins > 0), len(wins))
    return bool((reached > 0).all())


def _bradley_terry(wins):
    """Returns the strengths of most likelihood and their covariance, by Newton.

    Args:
      wins: float `[codecs, codecs]`, votes for the row's codec against the column's.

    Returns:
      (logarithms of the strengths, with the mean 0, `[codecs]`; covariance of these).
    """
    count, votes = len(wins), wins + wins.T
    log_odds = np.zeros(count)
    for _ in range(_STEPS):
        expected = _logistic(log_odds[:, np.newaxis] - log_odds)
        slope = wins.sum(1) - (votes * expected).sum(1)
        weights = votes * expected * (1 - expected)
        information = np.diag(weights.sum(1)) - weights
        # The information is blind to what all strengths have in common.
        covariance = np.linalg.inv(information + 1 / count) - 1 / count
        step = covariance @ slope
        log_odds += step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < 1e-10:
            break
    return log_odds, covariance

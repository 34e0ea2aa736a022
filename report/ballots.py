"""The votes of a blind test: files that the page of a report exports, and controls."""

import dataclasses
from collections.abc import Sequence

from learned_jpeg.common.errors import UserError
from learned_jpeg.common.json_files import read_json

FORMAT = "votes of a learned-jpeg report"
VERSION = 1

# Who counts: enough controls of both kinds were seen, at least this part of the plainly
# worse images was recognised, and this part of the identical files was called equal.
# Of people who press keys at random one in a hundred passes three controls a kind.
MIN_CONTROLS = 2
MIN_RECOGNISED = 0.75
MIN_CALLED_EQUAL = 0.5

_KINDS = ("pair", "same", "worse")
_CHOICES = ("first", "none", "second")


@dataclasses.dataclass(frozen=True)
class Vote:
    """One vote between two images, whose codecs were hidden.

    Attributes:
      kind: "pair"; or one of the controls: "same" (one file twice) or "worse" (the
        original and a plainly worse file).
      codecs: of the first and the second image; of the control "worse" these are
        "original" and "worse".
      choice: "first", "none" or "second", the better image.
    """

    kind: str
    codecs: tuple[str, str]
    choice: str

    @property
    def preferred(self) -> str | None:
        """The codec that was preferred, None for no difference."""
        return dict(zip(("first", "second"), self.codecs, strict=True)).get(self.choice)


@dataclasses.dataclass(frozen=True)
class Ballot:
    """All votes of one person.

    Attributes:
      path: of the file.
      test: which test it is of; pages of other images or files have another one.
      session: tells one person's test from another's.
      voter: name, may be empty.
      votes: list of `Vote`.
    """

    path: str
    test: str
    session: str
    voter: str
    votes: list[Vote]

    @property
    def pairs(self) -> list[Vote]:
        """The votes that are no controls."""
        return [vote for vote in self.votes if vote.kind == "pair"]

    @property
    def recognised(self) -> tuple[int, int]:
        """(How many plainly worse images were recognised, of how many)."""
        seen = [vote for vote in self.votes if vote.kind == "worse"]
        return sum(vote.preferred == "original" for vote in seen), len(seen)

    @property
    def called_equal(self) -> tuple[int, int]:
        """(How many pairs of identical files were called equal, of how many)."""
        seen = [vote for vote in self.votes if vote.kind == "same"]
        return sum(vote.choice == "none" for vote in seen), len(seen)

    @property
    def failure(self) -> str:
        """Why the votes do not count, empty if they do."""
        (recognised, worse), (equal, same) = self.recognised, self.called_equal
        if min(worse, same) < MIN_CONTROLS:
            return "too few controls were seen: vote to the end"
        if recognised < MIN_RECOGNISED * worse:
            return f"recognised {recognised} of {worse} plainly worse images"
        if equal < MIN_CALLED_EQUAL * same:
            return f"called {equal} of {same} pairs of identical files equal"
        return ""


def read_ballot(path: str) -> Ballot:
    """Reads the votes that the page of a report has exported.

    Raises:
      UserError: the file cannot be read, or holds something else.
    """
    try:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError("it is no export of a blind test")
        if content.get("version") != VERSION:
            raise ValueError("it is of another version of the page")
        texts = [_text(content, key) for key in ("test", "session", "voter")]
        return Ballot(path, *texts, [_vote(entry) for entry in content["votes"]])
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = error
        if isinstance(error, OSError):
            reason = error.strerror
        elif isinstance(error, KeyError | TypeError):
            reason = "it is damaged"
        raise UserError(
            f"{path}: no votes: {reason}; export them by the page of a report"
        ) from error


def _text(content, key):
    if not isinstance(content[key], str):
        raise ValueError(f"{key} is no text")
    return content[key]


def _vote(entry):
    kind, choice, codecs = entry["kind"], entry["choice"], entry["codecs"]
    is_pair = isinstance(codecs, list) and len(codecs) == 2
    if not is_pair or not all(isinstance(codec, str) for codec in codecs):
        raise ValueError("a vote is not between two codecs")
    if kind not in _KINDS or choice not in _CHOICES:
        raise ValueError("a vote is of an unknown kind or choice")
    if (codecs[0] == codecs[1]) != (kind == "same"):
        raise ValueError("a pair is of one codec, or a control of two")
    return Vote(kind, tuple(codecs), choice)


def merged(ballots: Sequence[Ballot]) -> list[Ballot]:
    """Returns one ballot a session, the one with most votes.

    Raises:
      UserError: the files are of different tests.
    """
    first = ballots[0]
    longest: dict[str, Ballot] = {}
    for ballot in ballots:
        if ballot.test != first.test:
            raise UserError(
                f"{ballot.path}: of another test than {first.path}; merge the votes of "
                "one page"
            )
        known = longest.setdefault(ballot.session, ballot)
        if len(ballot.votes) > len(known.votes):
            longest[ballot.session] = ballot
    return list(longest.values())

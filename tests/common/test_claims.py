"""Tests of claims: one process at a time has a claim, and none waits forever."""

import threading
import time

import pytest

from learned_jpeg.common import claims
from learned_jpeg.common.claims import Claim

pytestmark = pytest.mark.skipif(claims.fcntl is None, reason="no locks of files")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "work.claim")


def test_a_claim_that_nobody_has_is_taken_at_once(path):
    claim = Claim(path)
    assert not claim.take()
    claim.release()
    claim.release()
    assert not claim.take()


def test_another_one_waits_until_it_is_released(path):
    """Two opened files stand for two processes."""
    first, second = Claim(path), Claim(path)
    first.take()
    order = []
    release = threading.Timer(0.1, lambda: (order.append("released"), first.release()))
    release.start()
    assert second.take()
    order.append("taken")
    assert order == ["released", "taken"]
    release.join()


def test_nobody_waits_for_a_process_that_has_stopped(path, monkeypatch):
    monkeypatch.setattr(claims, "_LONGEST_WAIT", 0.05)
    Claim(path).take()  # never released
    start = time.monotonic()
    assert Claim(path).take()
    assert time.monotonic() - start < 5


def test_where_no_file_can_be_made_the_work_is_done_without(tmp_path):
    assert not Claim(str(tmp_path / "missing" / "work.claim")).take()

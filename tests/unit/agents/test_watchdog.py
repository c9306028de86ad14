"""The watchdog's rule: work that does not move for too long."""

from __future__ import annotations

from agents.watchdog import Watchdog


def test_what_moves_now_and_then_never_stalls():
    """Progress starts the wait anew, however slow it is."""
    watchdog = Watchdog(10)
    assert all(watchdog.look(now, [("a", now // 9)]) is None for now in range(100))


def test_what_has_no_work_never_stalls_and_its_wait_starts_anew():
    """Caught up in between: the old wait does not count."""
    watchdog = Watchdog(10)
    for now in range(100):
        waiting = [] if now % 8 == 0 else [("a", 1)]
        assert watchdog.look(now, waiting) is None


def test_only_the_one_that_stands_still_is_named():
    """A busy partition does not hide a dead one."""
    watchdog = Watchdog(10)
    found = [watchdog.look(now, [("busy", now), ("dead", 7)]) for now in range(13)]
    assert found == [None] * 11 + ["dead"] * 2


def test_a_process_that_slept_is_given_a_fresh_start():
    """After SIGCONT nothing has had a chance to move yet."""
    watchdog = Watchdog(10)
    watchdog.look(0, [("a", 7)])
    assert watchdog.look(1_000, [("a", 7)]) is None
    assert watchdog.look(1_004, [("a", 7)]) is None

"""A breach is what lasts, or what is empty, or what has left its range; silence is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.marks import Baseline, Watched
from teal.domain.watching import NOISE, Look, WatchLimits, is_over, judge

RULES = WatchLimits()
BASE = Baseline("p-1", ("1",), 0.010, 0.020, 0.0, answered=True)
NEW = Watched("p-1")
GOOD = Look(30.0, 0.020, 0.0)
SLOW = replace(GOOD, p95=0.041)
FAILING = replace(GOOD, error_rate=0.06)


def watch(
    *looks: Look, rules: WatchLimits = RULES, baseline: Baseline | None = BASE
) -> tuple[Watched, str | None]:
    """What has been seen after all looks; all but the last must be no breach."""
    watched = NEW
    for look in looks[:-1]:
        watched, breach = judge(rules, baseline, watched, look)
        assert breach is None
    return judge(rules, baseline, watched, looks[-1])


def test_slowness_is_a_breach_after_five_minutes() -> None:
    watched, breach = watch(*[SLOW] * 11)
    assert breach is not None
    assert watched.slow_for == 300.0
    assert breach == (
        "searches through the alias took 41.0 ms (95th percentile) for 300 s; before the cut-over 20.0 ms, and "
        "watch.maxLatencyRatio is 2"
    )


def test_one_good_look_ends_slowness() -> None:
    watched, breach = watch(*[SLOW] * 10, GOOD, *[SLOW] * 10)
    assert breach is None
    assert watched.slow_for == 270.0


def test_errors_are_a_breach_after_two_minutes() -> None:
    assert watch(*[FAILING] * 4)[1] is None
    _, breach = watch(*[FAILING] * 5)
    assert breach is not None
    assert breach.startswith("6% of the searches through the alias failed, for 120 s")


@pytest.mark.parametrize("look", [SLOW, FAILING])
def test_a_short_watch_tolerates_a_third_of_itself(look: Look) -> None:
    rules = WatchLimits(duration=60.0, interval=10.0)
    looks = [replace(look, seconds=10.0)] * 3
    assert watch(*looks[:2], rules=rules)[1] is None
    assert watch(*looks, rules=rules)[1] is not None


@pytest.mark.parametrize("look", [SLOW, FAILING])
def test_one_look_is_not_enough_however_long_the_interval(look: Look) -> None:
    assert watch(replace(look, seconds=3600.0))[1] is None


def test_an_empty_answer_is_a_breach_at_once() -> None:
    assert watch(replace(GOOD, empty=1))[1] is not None
    assert watch(replace(GOOD, empty=20), baseline=replace(BASE, answered=False))[1] is None
    assert watch(replace(GOOD, empty=20), baseline=None)[1] is None


def test_a_value_out_of_range_is_a_breach_at_once() -> None:
    assert watch(replace(GOOD, out_of_range=("clicks are 0",)))[1] == "clicks are 0"


def test_what_is_fast_is_never_slow() -> None:
    fast = replace(BASE, p95=NOISE / 100)
    assert watch(*[replace(GOOD, p95=NOISE)] * 50, baseline=fast)[1] is None
    assert watch(*[replace(GOOD, p95=NOISE * 1.01)] * 11, baseline=fast)[1] is not None


def test_a_pause_stops_the_time_and_says_why() -> None:
    watched, breach = watch(GOOD, replace(GOOD, unsure=("Prometheus is away",)), GOOD)
    assert breach is None
    assert watched.seconds == 60.0
    paused, _ = watch(GOOD, replace(GOOD, unsure=("Prometheus is away",)))
    assert paused.paused == "Prometheus is away"
    assert watched.paused is None


def test_a_pause_hides_no_breach_of_the_probes() -> None:
    unsure = replace(SLOW, unsure=("Prometheus is away",))
    assert watch(*[unsure] * 11)[1] is not None


def test_a_look_without_probes_changes_nothing_of_what_is_bad() -> None:
    watched, _ = watch(SLOW, SLOW, Look(30.0, unsure=("Qdrant is away",)))
    assert watched.slow_for == 30.0
    assert watched.seconds == 60.0


def test_a_watch_is_over_when_nothing_is_bad_any_more() -> None:
    rules = WatchLimits(duration=60.0)
    assert not is_over(rules, replace(NEW, seconds=59.0))
    assert is_over(rules, replace(NEW, seconds=60.0))
    assert not is_over(rules, replace(NEW, seconds=60.0, slow_for=0.0))
    assert not is_over(rules, replace(NEW, seconds=60.0, failing_for=1.0))


looks = st.builds(
    Look,
    st.floats(0, 100),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
    unsure=st.just(()) | st.just(("away",)),
)
rules = st.builds(WatchLimits, st.floats(1, 1e4), st.floats(1, 100), st.floats(1, 10), st.floats(0, 1))


@given(rules, st.lists(looks, max_size=30))
def test_time_never_runs_faster_than_it_is_watched(rules: WatchLimits, all_looks: list[Look]) -> None:
    watched, sure = NEW, 0.0
    for look in all_looks:
        watched, breach = judge(rules, BASE, watched, look)
        sure += 0.0 if look.unsure else look.seconds
        assert watched.seconds == pytest.approx(sure)
        if breach:
            bad = [watched.slow_for or 0.0, watched.failing_for or 0.0]
            assert bad[0] >= rules.slow_for or bad[1] >= rules.failing_for
            return


@given(rules, st.lists(st.builds(Look, st.floats(0, 100), st.just(0.020), st.just(0.0)), max_size=30))
def test_what_is_as_before_is_never_a_breach(rules: WatchLimits, all_looks: list[Look]) -> None:
    watched = NEW
    for look in all_looks:
        watched, breach = judge(rules, BASE, watched, look)
        assert breach is None

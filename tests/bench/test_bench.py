"""The bench's own arithmetic: what it prints is no better than this."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from onboarding import renewals
from onboarding.simulator.limiter import Limiter
from onboarding.store import runs
from onboarding.store.engine import Store
from tests.bench import alive, filling, gateway, report, shared
from tests.bench.__main__ import main
from tests.bench.figures import Figure, Measured, calls_possible, percentile, span_s
from tests.bench.questions import Answered, Question, answer, questions

TIMES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)
SHARES = st.floats(min_value=0, max_value=1)


def test_percentiles_of_a_hundred_are_the_values_of_that_rank() -> None:
    """Of 1 to 100 the median is 50 and the 95th percentile 95: values that were measured, nothing in between."""
    values = list(range(100, 0, -1))
    assert [percentile(values, share) for share in (0, 0.5, 0.95, 1)] == [1, 50, 95, 100]


def test_the_percentile_of_one_is_that_one() -> None:
    """With one value every percentile is it."""
    assert [percentile([7.0], share) for share in (0, 0.5, 0.95, 1)] == [7.0] * 4


@given(TIMES, SHARES)
def test_a_percentile_covers_its_share(values: list[float], share: float) -> None:
    """At least the share lies at or below it, less than the share lies below it, and it is one of the values."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert found == min(values) or sum(value < found for value in values) < share * len(values) + 1e-6


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_no_percentile_of_nothing(values: list[float], share: float) -> None:
    """No values, or a share that is none: an error, never a number."""
    with pytest.raises(ValueError):
        percentile(values, share)


def test_calls_possible_counts_both_ends() -> None:
    """Five at the very start, five more with each full second: 5 in 0.99 s, 10 in 1 s, 130 in 25.2 s."""
    assert [calls_possible(5, seconds) for seconds in (0, 0.99, 1, 25.2)] == [5, 5, 10, 130]


@given(st.integers(1, 20), st.integers(0, 30_000))
def test_calls_possible_is_what_the_limiter_of_deel_lets_through(rate: int, milliseconds: int) -> None:
    """Whoever asks the simulator's limiter all the time gets as many calls as are called possible, and no more."""
    limiter = Limiter(rate)
    moments = [second for second in range(milliseconds // 1000 + 1) for _ in range(rate + 1)]
    passed = sum(limiter.admit("org", float(moment), refused_count=False)[0] for moment in moments)
    assert passed == calls_possible(rate, milliseconds / 1000)


def test_the_span_is_from_the_first_arrival_to_the_last() -> None:
    """In any order; none without calls."""
    assert span_s([3.0, 1.5, 2.0]) == 1.5
    assert span_s([]) == 0.0


def test_the_table_is_plain_in_a_pipe() -> None:
    """No colour, no box: words in columns, and whether each aim is met."""
    out = io.StringIO()
    console = Console(file=out, width=100)
    figures = [Figure("p50", "71.0 ms", "< 80 ms", met=True), Figure("p95", "99.0 ms", "< 90 ms", met=False)]
    console.print(report.table(console, [Measured("x", "Latency", [*figures, Figure("floor", "12.7 ms")], {})]))
    heading, title, *lines = [line.split() for line in out.getvalue().splitlines()]
    assert heading == ["figure", "measured", "aim", "met"]
    assert title == ["Latency"]
    assert lines == [
        ["p50", "71.0", "ms", "<", "80", "ms", "yes"],
        ["p95", "99.0", "ms", "<", "90", "ms", "no"],
        ["floor", "12.7", "ms"],
    ]


def test_raw_numbers_are_one_json_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file per measurement, with the machine, the figures and the numbers; the next time overwrites it."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    measured = Measured("latency", "Latency", [Figure("  p50", "2.0 ms", "< 3 ms", met=True)], {"ms": [1.0, 2.0]})
    for _ in range(2):
        path = report.write(measured, {"cores": "2"})
    assert [path] == list(tmp_path.iterdir())
    assert json.loads(path.read_text()) == {
        "title": "Latency",
        "machine": {"cores": "2"},
        "figures": [{"what": "p50", "value": "2.0 ms", "aim": "< 3 ms", "met": True}],
        "ms": [1.0, 2.0],
    }


def test_parts_run_alone() -> None:
    """Those whose name holds one of the words; a word that no name holds is an error, not an empty table."""
    asked = CliRunner().invoke(main, ["--list", "--only", "flat", "--only", "limit"])
    assert asked.output.split() == ["limit", "flat-store", "flat-memory"]
    assert CliRunner().invoke(main, ["--only", "nothing-like-it"]).exit_code == 2


def test_a_figure_of_a_slow_answer_is_red() -> None:
    """Judged by the slowest but one of twenty."""
    question = Question("q", lambda _db: None, aim_ms=100)
    assert Answered(question, [1.0] * 19 + [900.0], {}).figure == Figure("q", "1.0 ms", "< 100 ms", met=True)
    assert Answered(question, [1.0] * 18 + [100.0] * 2, {}).figure == Figure("q", "100.0 ms", "< 100 ms", met=False)


def test_a_store_is_filled_asked_and_left_as_it_was(postgres_url: str) -> None:
    """Every question has an answer and a plan, and what it wrote is undone."""
    filling.fill(postgres_url, 1000)
    filling.wait_in_line(postgres_url, 20)
    filling.hold_up(postgres_url, 10)
    store = Store(postgres_url)
    before = store.read(runs.stats)
    assert before["runs"] == {"cancelled": 20, "completed": 979, "failed": 1, "pending": 20, "waiting": 10}
    names = [row.id for row in store.read(lambda db: runs.listing(db, limit=3))]
    for question in questions(names):
        answered = answer(store, question, times=2)
        assert len(answered.took_ms) == 2
        assert answered.plans, question.what
    assert store.read(runs.stats) == before
    store.close()


def test_the_pace_is_back_when_two_seconds_hold_what_they_may() -> None:
    """Five a second, but for one in ten; never, where it does not come back."""
    slow = [at / 2 for at in range(20)]  # two a second, until the tenth
    full = [10.0 + at / 5 for at in range(20)]
    assert shared._back_after(slow + full, 4.0) == 5.5
    assert shared._back_after(slow, 4.0) == float("inf")


def test_what_a_stranger_costs_is_told_from_our_own_calls() -> None:
    """Its own calls, and what was refused to it, are not ours."""
    ours = [SimpleNamespace(route="GET /people/me", status=200, at_monotonic=at / 5) for at in range(100)]
    ours[55].status = 429
    strangers = [SimpleNamespace(route=shared.STRANGERS_ROUTE, status=429, at_monotonic=12.0)]
    judged = shared.judge(SimpleNamespace(deel=SimpleNamespace(ledger=[*ours, *strangers])), 10.0, 15.0)
    assert [figure.value for figure in judged.figures] == ["1 of 25", "4.80", "0.0 s"]
    assert judged.figures[2].met


def test_a_thousand_kept_alive_never_expire_and_leave_the_living_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand at five a second, made small; without the spread they would queue, so the figures can be bad."""
    seen = alive.play(workers=1_000, rate=0.5, days=2)
    assert (seen.expired, seen.least_life >= timedelta(hours=1.9)) == (0, True)
    assert seen.most_queued <= 0.5 * alive.MINUTE
    monkeypatch.setattr(renewals, "SPREAD", timedelta())
    assert alive.play(workers=1_000, rate=0.5, days=2).most_queued > 0.5 * alive.MINUTE


def test_a_gateway_that_stalls_is_charged_for_all_that_it_kept_waiting() -> None:
    """The p99 is of what was due, answered or not; an acknowledgement without a message on the queue is seen."""
    latencies = [5.0] * 98 + [60.0, 900.0]
    sent = {"latencies_ms": latencies, "statuses": {"200": 99, "503": 1}, "warm_up": 10}
    verdicts = {figure.what.strip(): figure for figure in gateway.judge(sent, 108, 1.0, 100.0).figures}
    assert verdicts["p99"].value == "60.0 ms"
    assert verdicts["p99"].met is False
    assert verdicts["answered 200"].met is False
    assert verdicts["on the queue, of those and the warm-up"].met is False
    good = {**sent, "latencies_ms": [5.0] * 100, "statuses": {"200": 100}}
    assert all(figure.met is not False for figure in gateway.judge(good, 110, 1.0, 100.0).figures)

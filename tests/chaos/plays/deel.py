"""Deel: what it answers when it is unwell, and what it may answer to a second call."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.chaos.auditor import Expected
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import hire, in_flight, scenario

PROFILE, SESSION, ME = "POST /eor/worker", "POST /workers/session", "GET /people/me"


def _second_profile(answer: str, made: Plant, _dice: random.Random, _say: Say) -> Expected:
    made.system.deel.policy.repeat_worker = answer  # type: ignore[assignment]
    made.system.deel.policy.idempotency = answer != "same"  # without it only looking first keeps from a second one
    names = hire(made, 20)
    for name in names[: len(names) // 2]:
        made.system.deel.cuts_connection(after=PROFILE, contract=name)
    made.begin()
    return Expected(names)


for answer in ("same", "400", "duplicate"):
    scenario(f"a second POST /eor/worker answers: {answer}")(partial(_second_profile, answer))


@scenario("Deel refuses a second session, strangers supersede")
def second_session_refused(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """The one before is deleted first; a stranger's token behind ours is seen at verify."""
    made.system.deel.policy.second_session = "refuse"
    names = hire(made, 20)
    for name in names[::3]:
        made.system.deel.supersedes_after_issue(name)
        made.system.deel.cuts_connection(after=SESSION, contract=name)
    made.begin()
    return Expected(names)


@scenario("Deel is silent for 30 s", patience_s=180)
def silent(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """Each call that may hang does so once, and is carried out all the same."""
    names = hire(made, 6)
    for route, name in zip((PROFILE, SESSION, ME) * 2, names, strict=True):
        made.system.deel.is_slow(route, 30.0, contract=name)
    made.begin()
    return Expected(names)


@scenario("429 storms")
def refused(made: Plant, dice: random.Random, _say: Say) -> Expected:
    """Somebody else spends the organisation's budget."""
    made.begin()
    names = hire(made, 20)
    for _ in range(4):
        time.sleep(dice.uniform(0.2, 1.0))
        for route in (PROFILE, SESSION, ME):
            made.system.deel.fails(route, 429, times=3)
    return Expected(names)


@scenario("the organisation's token is revoked and restored in mid-flight", short=True)
def revoked(made: Plant, _dice: random.Random, say: Say) -> Expected:
    """Every run waits, nothing is parked; the engineer resumes."""
    names = in_flight(made, 20)
    made.system.deel.revoke_token(made.system.deel.org_token)
    names += hire(made, 10, "later")
    time.sleep(3.0)
    say(f"revoked: {made.system.states()}")
    made.system.deel.restore_token(made.system.deel.org_token)
    made.resume()
    return Expected(names)

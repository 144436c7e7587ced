"""`runs`, `show` and `stats`: what an engineer sees."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from onboarding import notify
from onboarding.budget import Budget, fingerprint_of
from onboarding.events import Why
from onboarding.runs import Reason
from onboarding.store import backfills, org_tokens, organizations
from onboarding.store.engine import Store
from onboarding.store.tables import attempts, events, notifications
from tests.onboarding.cli.conftest import EMAIL, TOKEN, Desk, add_completed
from tests.onboarding.store.rows import KEYRING, ORG, add_run, claim

AT = datetime(2026, 11, 24, 4, 49, 54, 488_000, UTC)
RUN_KEYS = [
    *("run_id", "organization_id", "contract_id", "state", "step", "reason", "attempts", "hris_profile_id"),
    *("token_expires_at", "created_at", "updated_at"),
]
ATTEMPT_KEYS = ["step", "started_at", "ended_at", "outcome", "reason", "http_status", "request_id"]


def add_attempt(store: Store, run_id: str = "run-1", fence: int = 1, **columns: Any) -> None:
    ended = {"ended_at": AT + timedelta(milliseconds=412), "outcome": "done"}
    row = {"run_id": run_id, "step": "contract_created", "fence": fence, "started_at": AT, **ended, **columns}
    store.write(lambda db: db.execute(insert(attempts).values(**row)))


def test_runs_as_json(onboarding: Desk):
    """The array of the design, newest first, times in UTC with a Z."""
    add_run(onboarding.store, "old", created_at=AT, updated_at=AT)
    add_run(onboarding.store, "new", state="failed", reason="not_eor", token_expires_at=AT)
    add_attempt(onboarding.store, "old")
    new, old = onboarding.json("runs")
    assert list(new) == list(old) == RUN_KEYS
    assert (new["run_id"], new["state"], new["reason"], new["attempts"]) == ("new", "failed", "not_eor", 0)
    assert new["token_expires_at"] == old["created_at"] == "2026-11-24T04:49:54.488Z"
    assert (old["attempts"], old["hris_profile_id"]) == (1, None)


def test_no_runs(onboarding: Desk):
    """An empty listing is an answer: `[]`, or a friendly line beside an empty standard output; exit 0."""
    assert onboarding.json("runs") == []
    result = onboarding("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "onboarding send" in result.stderr


def test_runs_chosen_by_state_and_reason(onboarding: Desk):
    """Filters; a word that is none is exit 2 and names those that are."""
    add_run(onboarding.store, "a", state="failed", reason="not_eor")
    add_run(onboarding.store, "b", state="failed", reason="crash_loop")
    add_run(onboarding.store, "c")
    assert [run["run_id"] for run in onboarding.json("runs", "--state", "failed", "--reason", "crash_loop")] == ["b"]
    assert [run["run_id"] for run in onboarding.json("runs", "--state", "pending")] == ["c"]
    wrong = onboarding("runs", "--state", "broken")
    assert wrong.exit_code == 2
    assert "completed" in wrong.stderr


def test_a_cut_listing_says_so(onboarding: Desk):
    """The newest, and a hint on standard error that there are more; none where there are not."""
    for number in range(3):
        add_run(onboarding.store, f"run-{number}", created_at=AT + timedelta(seconds=number))
    cut, whole = onboarding("runs", "--limit", "2"), onboarding("runs", "--limit", "3")
    assert "run-0" not in cut.stdout
    assert "--limit" in cut.stderr
    assert "run-0" in whole.stdout
    assert "--limit" not in whole.stderr
    assert onboarding("runs", "--limit", "0").exit_code == 2


def test_each_reason_comes_with_advice_and_a_command(onboarding: Desk):
    """Below the table, on standard error: what to do about the runs that failed or wait."""
    add_run(onboarding.store, "a", contract_id="c-1", state="failed", reason="deel_unavailable")
    add_run(onboarding.store, "b", contract_id="c-2", state="failed", reason="deel_unavailable")
    add_run(onboarding.store, "c", contract_id="c-3", state="waiting", reason="scope_missing")
    add_run(onboarding.store, "d", contract_id="c-4", state="waiting", reason="consent_missing")
    add_run(onboarding.store, "e", contract_id="c-5", state="failed", reason="not_eor")
    add_run(onboarding.store, "f", contract_id="c-6", state="failed", reason="crash_loop")
    add_run(onboarding.store, "g", contract_id="c-7", state="failed", reason="of_tomorrow")
    said = onboarding("runs").stderr
    for expected in (
        *(Reason.DEEL_UNAVAILABLE.advice, Reason.SCOPE_MISSING.advice, "onboarding doctor"),
        *(f"onboarding resume {ORG}", "onboarding consent c-4 --evidence", "onboarding cancel c-5"),
        *("onboarding show c-6", "onboarding replay c-6", "onboarding replay c-7"),
    ):
        assert expected in said
    assert "onboarding replay c-1 c-2" in said or "onboarding replay c-2 c-1" in said


def test_a_group_counts_what_is_not_shown(onboarding: Desk):
    """All that the filter finds, whatever the limit; what the command leaves out is named, with how to list it."""
    for number in range(60):
        add_run(onboarding.store, f"run-{number}", state="failed", reason="not_eor")
    add_run(onboarding.store, "old", contract_id="c-old", state="waiting", reason="consent_missing", created_at=AT)
    said = onboarding("runs", "--limit", "50").stderr
    assert "failed, not_eor: 60\n" in said
    assert "and 59 more: onboarding runs --state failed --reason not_eor --limit 60 --json" in said
    assert "and 1 more: onboarding runs --state waiting --reason consent_missing --json" in said
    few = onboarding("runs", "--reason", "not_eor", "--limit", "3").stderr
    assert "and 57 more:" in few
    assert "consent_missing" not in few
    assert "more:" not in onboarding("runs", "--state", "waiting").stderr


def test_a_run_is_shown_whole(onboarding: Desk):
    """Header, timeline, what to type next."""
    add_completed(onboarding.store)
    add_attempt(onboarding.store, http_status=200, request_id="req-1", reason=None)
    result = onboarding("show", "contract-of-run-1")
    for expected in ("run-1", ORG, "completed", "profile-of-run-1", "in 24 h", "412 ms", "200", "req-1"):
        assert expected in result.stdout
    assert "2026-11-24T04:49:54.488Z" in result.stdout
    assert 'onboarding token contract-of-run-1 --because "..."' in result.stderr
    assert EMAIL not in result.output
    assert TOKEN not in result.output


def test_a_run_as_json(onboarding: Desk):
    """The run's object and its timeline, by either id."""
    add_run(onboarding.store, state="failed", reason="request_rejected")
    add_attempt(onboarding.store, outcome="failed", reason="request_rejected", http_status=422, request_id="req-2")
    shown = onboarding.json("show", "run-1")
    assert shown == onboarding.json("show", "contract-of-run-1")
    assert list(shown) == [*RUN_KEYS, "timeline", "notifications", "keep_alive", "notes"]
    (attempt,) = shown["timeline"]
    assert list(attempt) == ATTEMPT_KEYS
    assert (attempt["started_at"], attempt["ended_at"]) == ("2026-11-24T04:49:54.488Z", "2026-11-24T04:49:54.900Z")
    assert (attempt["http_status"], attempt["request_id"]) == (422, "req-2")


def test_a_crashed_attempt_has_no_end(onboarding: Desk):
    """Also where nobody has written yet that it crashed; one at work has no outcome."""
    add_run(onboarding.store, state="running", fence=2, lease_until=AT)
    add_attempt(onboarding.store, fence=1, ended_at=None, outcome="crashed")
    add_attempt(onboarding.store, fence=2, ended_at=None, outcome=None)
    add_run(onboarding.store, "run-2")
    claim(onboarding.store, "run-2")
    crashed = onboarding.json("show", "run-1")["timeline"]
    assert [(attempt["outcome"], attempt["ended_at"]) for attempt in crashed] == [("crashed", None)] * 2
    assert [attempt["outcome"] for attempt in onboarding.json("show", "run-2")["timeline"]] == [None]
    assert "running" in onboarding("show", "run-2").stdout


def test_each_target_is_shown(onboarding: Desk):
    """Which took the message, which refused it and with what, which is tried again and when."""
    add_run(onboarding.store, state="waiting", step="notify", reason="notify_unavailable", next_attempt_at=AT)
    completed, failed = notify.message_id("run-1", notify.COMPLETED), notify.message_id("run-1", notify.FAILED, 1)
    rows = [
        {"message_id": completed, "target": "a", "delivered_at": AT, "http_status": 204},
        {"message_id": completed, "target": "b", "refused_at": AT, "http_status": 410},
        {"message_id": completed, "target": "c", "tries": 2, "http_status": 503},
        {"message_id": failed, "target": "d", "tries": 1, "next_try_at": AT + timedelta(hours=1)},
    ]
    for columns in rows:
        row = {"run_id": "run-1", "created_at": AT, "tries": 0, **columns}
        onboarding.store.write(lambda db, row=row: db.execute(insert(notifications).values(**row)))
    told = onboarding.json("show", "run-1")["notifications"]
    assert list(told[0]) == ["target", "type", "state", "tries", "http_status", "next_try_at"]
    assert [(each["target"], each["state"], each["http_status"]) for each in told] == [
        ("a", "delivered", 204),
        ("b", "refused", 410),
        ("c", "open", 503),
        ("d", "open", None),
    ]
    assert [each["next_try_at"] and each["next_try_at"][11:16] for each in told] == [None, None, "04:49", "05:49"]
    assert [each["type"] for each in told] == ["onboarding.completed"] * 3 + ["onboarding.failed"]
    for expected in ("delivered", "refused", "410", "503"):
        assert expected in onboarding("show", "run-1").stdout


def test_a_target_that_a_parked_run_did_not_reach(onboarding: Desk):
    """Nothing tries it again by itself: it is not called open."""
    add_run(onboarding.store, state="failed", step="notify", reason="notify_unavailable")
    row = {"message_id": notify.message_id("run-1", notify.COMPLETED), "target": "a", "run_id": "run-1"}
    onboarding.store.write(lambda db: db.execute(insert(notifications).values(**row, created_at=AT, tries=12)))
    assert [each["state"] for each in onboarding.json("show", "run-1")["notifications"]] == ["not_delivered"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"state": "waiting", "reason": "rate_limited", "next_attempt_at": AT}, "next try  "),
        ({"state": "completed", "step": "notify", "token_expires_at": AT}, "it has expired"),
        ({"state": "failed", "reason": "not_eor"}, Reason.NOT_EOR.advice),
    ],
)
def test_the_header_says_what_is_next(onboarding: Desk, columns: dict[str, Any], expected: str):
    """When it is tried again, whether its token still lives, what its reason means."""
    add_run(onboarding.store, **columns)
    assert expected in onboarding("show", "run-1").stdout


def test_show_does_not_propose_itself(onboarding: Desk):
    """And a token that opened another's account is no matter of trying again: the facts are learnt anew."""
    add_run(onboarding.store, "run-1", state="failed", step="verify_token", reason="identity_mismatch")
    add_run(onboarding.store, "run-2", state="failed", reason="crash_loop")
    mismatch, crashed = onboarding("show", "run-1").stderr, onboarding("show", "run-2").stderr
    assert mismatch.strip() == "next  onboarding replay contract-of-run-1 --from contract_created"
    assert crashed.strip() == "next  onboarding replay contract-of-run-2"


def test_advice_names_what_can_be_typed():
    """Settings by their whole names; no command that does not exist; what goes on by itself says so."""
    advices = [member.advice for kind in (Reason, Why) for member in kind]
    bare = r"(?<!ONBOARDING_)\b(DEEL_TOKEN|NOTIFY_URLS|WEBHOOK_SECRETS)"
    assert not [advice for advice in advices if re.search(bare, advice) or "discard" in advice]
    assert "replay" not in "".join(why.advice for why in Why)
    for reason in (Reason.DEEL_UNAVAILABLE, Reason.NOTIFY_UNAVAILABLE, Reason.RATE_LIMITED):
        assert "by itself" in reason.advice
        assert "nce parked:" in reason.advice


def test_a_pending_run_leaves_nothing_to_type(onboarding: Desk):
    """Nothing to do but wait: no command is proposed."""
    add_run(onboarding.store)
    assert "next" not in onboarding("show", "run-1").output


def test_nothing_of_this_name(onboarding: Desk):
    """Exit 3, naming it, with nothing on standard output."""
    result = onboarding("show", "nix", "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nix" in result.stderr


def test_stats_as_json(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Counts by state, reason and disposition; the budget; who waits; who is paused."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "deel-token-canary-77")
    add_run(onboarding.store, "a", state="failed", reason="not_eor")
    add_run(onboarding.store, "b", created_at=AT)
    onboarding.store.write(lambda db: organizations.pause(db, ORG, Reason.PAUSED, None, probe=False))
    assert onboarding.json("stats") == {
        "runs": {"failed": 1, "pending": 1},
        "reasons": {"not_eor": 1},
        "events": {},
        "dead_letters": 0,
        "changed_inputs": 0,
        "revocations_open": 0,
        "paused": [{"organization_id": ORG, "reason": "paused", "next_probe_at": None}],
        "oldest_waiting_at": "2026-11-24T04:49:54.488Z",
        "budget": {"rate": 5.0, "rate_now": 5.0, "in_use": 0, "why_slower": None},
        "budgets": [],
        "completeness": {
            "days": 30,
            "told_by_webhook": 0,
            "told_late": 0,
            "found_by_poll_only": 0,
            "organizations": [],
        },
        "backfills": [],
    }


def test_stats_show_a_budget_that_slowed(onboarding: Desk, monkeypatch: pytest.MonkeyPatch):
    """Somebody else spends it, and here is where one sees it."""
    monkeypatch.setenv("ONBOARDING_DEEL_TOKEN", "deel-token-canary-77")
    budget = Budget(onboarding.store, SecretStr("deel-token-canary-77"), 5)
    assert "slowed" not in onboarding("stats").stdout
    budget.hold(0.0)
    assert onboarding.json("stats")["budget"]["rate_now"] == 4.0
    assert "slowed to 4, as Deel refused calls a moment ago" in onboarding("stats").stdout


def test_stats_for_people(onboarding: Desk):
    """The same in words; without a token here nobody knows which budget is meant."""
    add_run(onboarding.store, "b", created_at=AT)
    said = onboarding("stats").stdout
    for expected in ("pending 1", "none", "5 requests per second; its use is unknown", "2026-11-24T04:49:54.488Z"):
        assert expected in said
    assert onboarding.json("stats")["budget"]["in_use"] is None


def test_stats_say_how_a_pause_ends(onboarding: Desk):
    """When the next probe is, and what to type."""
    onboarding.store.write(lambda db: organizations.pause(db, "org-1", Reason.SCOPE_MISSING, None))
    onboarding.store.write(lambda db: organizations.pause(db, "org-2", Reason.PAUSED, None, probe=False))
    result, (probed, engineers) = onboarding("stats"), onboarding.json("stats")["paused"]
    assert f"org-1 (scope_missing), next probe {probed['next_probe_at']}" in result.stdout
    assert "org-2 (paused), until it is resumed" in result.stdout
    assert engineers["next_probe_at"] is None
    assert result.stderr.splitlines() == [
        "next  onboarding doctor",
        "next  onboarding resume org-1",
        "next  onboarding resume org-2",
    ]


def test_stats_show_each_organisations_budget(onboarding: Desk):
    """Of those that have a token of their own: who is busiest first; a long list is cut."""
    for number in range(25):
        token = SecretStr(f"token-of-{number:02}")
        name = f"org-{number:02}"
        fingerprint = fingerprint_of(token)
        onboarding.store.write(lambda db, n=name, t=token, f=fingerprint: org_tokens.keep(db, KEYRING, n, t, f))
    Budget(onboarding.store, SecretStr("token-of-07"), 5).take()
    Budget(onboarding.store, SecretStr("token-of-09"), 5).hold(0.0)
    found = onboarding.json("stats")["budgets"]
    assert len(found) == 20
    assert (found[0]["organization_id"], found[0]["in_use"], found[1]["organization_id"]) == ("org-07", 1, "org-00")
    assert [each["organization_id"] for each in found if each["why_slower"]] == ["org-07", "org-09"]
    said = onboarding("stats").stdout
    assert "budget of org-00" in said
    assert "token-of" not in said


def test_stats_say_how_runs_came_to_be_known(onboarding: Desk):
    """In time, late, or by the list alone; by organisation where there are several."""
    for number, (source, late) in enumerate((("deel", False), ("backfill", True), ("backfill", False))):
        run, organization = f"run-{number}", f"org-{number}"
        add_run(onboarding.store, run, organization_id=organization)
        rows = [{"source": source, "disposition": "accepted", "reason": None}]
        rows += [{"source": "deel", "disposition": "duplicate", "reason": "run_exists"}] if late else []
        for row in rows:
            onboarding.store.write(lambda db, r=run, row=row: db.execute(insert(events).values(run_id=r, **row)))
    onboarding.store.write(lambda db: backfills.know(db, ["org-0"], 3600.0))
    found = onboarding.json("stats")
    counts = {name: count for name, count in found["completeness"].items() if name != "organizations"}
    assert counts == {"days": 30, "told_by_webhook": 1, "told_late": 1, "found_by_poll_only": 1}
    assert [each["told_late"] for each in found["completeness"]["organizations"]] == [0, 1, 0]
    assert found["backfills"][0]["last_read_at"] is None
    said = onboarding("stats").stdout
    assert "told by webhook 1  told late 1  found by poll only 1" in said
    assert "known of org-2" in said
    assert "list of org-0" in said

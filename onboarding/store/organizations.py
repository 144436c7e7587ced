"""Organisations: paused, probed, resumed; and what was learnt of a token for Deel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, or_, select, update

from onboarding.runs import PAUSING, Reason, State, Step
from onboarding.store.sql import from_now, one_of
from onboarding.store.tables import backfills, deel_tokens, organizations, revocations, runs, service_keys, webhooks
from onboarding.store.upsert import insert_or_ignore

FIRST_PROBE_S = 300.0
FIRST_IN_LINE_S = 86_400.0
"""So long a probe seems to have waited: behind thousands who find the organisation paused it would never come."""
MESSAGE_S = 60.0
"""How long a nudge's message may well take to be carried out."""

_LEARNT = select(deel_tokens).where(deel_tokens.c.fingerprint == bindparam("token"))

_HELD_UP = one_of(runs.c.state, (State.WAITING,)) & one_of(runs.c.reason, PAUSING)
_WAITS_FOR_IT = select(runs.c.id).where(runs.c.organization_id == organizations.c.id, _HELD_UP).limit(1)
_AT_THE_STEP = _WAITS_FOR_IT.where(runs.c.step == organizations.c.paused_step).order_by(runs.c.created_at)
_AT_ANY = _WAITS_FOR_IT.order_by(runs.c.step, runs.c.created_at)  # by the index: whichever it is, it proves little
_PROBES = select(func.coalesce(_AT_THE_STEP.scalar_subquery(), _AT_ANY.scalar_subquery())).where(
    organizations.c.probe_at <= from_now()
)
_NUDGE_PROBES = (
    update(runs)
    .where(
        runs.c.id.in_(_PROBES),
        runs.c.nudge_at > from_now(MESSAGE_S),  # not one whose message is on its way: it waits for its turn
    )
    .values(nudge_at=from_now(-FIRST_IN_LINE_S), behind=False, nudges=0)
)


def pause(db: Connection, organization_id: str, reason: Reason, step: Step | None, *, probe: bool = True) -> bool:
    """Let every run of it wait. False: it was paused already (then its first reason stands: one alert).

    With `probe`, one waiting run is let through from time to time, and ends the pause when it succeeds.
    """
    insert_or_ignore(db, organizations, id=organization_id)
    written = db.execute(
        update(organizations)
        .where(organizations.c.id == organization_id, organizations.c.paused_at.is_(None))
        .values(
            paused_reason=reason,
            paused_step=step,
            paused_at=from_now(),
            probe_at=from_now(FIRST_PROBE_S) if probe else None,
        )
    )
    return written.rowcount == 1


def hold(db: Connection, organization_id: str) -> bool:
    """Pause until an engineer resumes. False: an engineer's pause stands already.

    One of Deel's making becomes an engineer's: no probe ends it, nor goes by whatever token is there by then.
    """
    if paused_reason(db, organization_id) not in (None, Reason.PAUSED):
        resume(db, organization_id)  # its probes with it; one transaction: nothing runs in between
    return pause(db, organization_id, Reason.PAUSED, None, probe=False)


def paused_reason(db: Connection, organization_id: str, *, lock: bool = False) -> str | None:
    """Why it is paused; None: it is not. With `lock` no resume comes between this answer and the commit."""
    query = select(organizations.c.paused_reason).where(
        organizations.c.id == organization_id, organizations.c.paused_at.is_not(None)
    )
    return db.execute(query.with_for_update(read=True) if lock else query).scalar_one_or_none()


def take_probe(db: Connection, organization_id: str, step: Step, every_s: float) -> bool:
    """Whether a run at this step is the one that may try although its organisation is paused.

    One at another step than the trouble's proves nothing: it leaves the turn to one that waits there, if any does.
    """
    waits_there = exists().where(
        runs.c.organization_id == organization_id, runs.c.step == organizations.c.paused_step, _HELD_UP
    )
    written = db.execute(
        update(organizations)
        .where(organizations.c.id == organization_id, organizations.c.paused_at.is_not(None))
        .where(organizations.c.probe_at <= from_now())
        .where(or_(organizations.c.paused_step == step, ~waits_there))
        .values(probe_at=from_now(every_s))
    )
    return written.rowcount == 1


def resume(db: Connection, organization_id: str) -> bool:
    """End the pause; its waiting runs are nudged by the reconciler. False: it was not paused."""
    written = db.execute(
        update(organizations)
        .where(organizations.c.id == organization_id, organizations.c.paused_at.is_not(None))
        .values(paused_reason=None, paused_step=None, paused_at=None, probe_at=None)
    )
    db.execute(
        update(runs).where(runs.c.organization_id == organization_id, _HELD_UP).values(nudge_at=from_now(), nudges=0)
    )
    return written.rowcount == 1


def resume_after_probe(db: Connection, organization_id: str, step: Step) -> bool:
    """A probe got through the step that had met the trouble: the pause has no cause any more."""
    # a pause that an engineer made meanwhile names no step: no probe ends it
    query = select(organizations.c.id).where(organizations.c.id == organization_id, organizations.c.paused_step == step)
    return db.execute(query).one_or_none() is not None and resume(db, organization_id)


def nudge_probes(db: Connection) -> None:
    """For each paused organisation whose probe is due, make one waiting run due: at the step of the trouble if any."""
    db.execute(_NUDGE_PROBES)


def learnt(db: Connection, fingerprint: str) -> Any:
    """What is known of this token for Deel: a row with `organization_id` and `session_field`, or None."""
    return db.execute(_LEARNT, {"token": fingerprint}).one_or_none()


def learn(db: Connection, fingerprint: str, **columns: str) -> None:
    """Keep what Deel told of this token."""
    insert_or_ignore(db, deel_tokens, fingerprint=fingerprint)
    db.execute(update(deel_tokens).where(deel_tokens.c.fingerprint == fingerprint).values(**columns))


def learn_home(db: Connection, fingerprint: str, placeholder: str, organization_id: str) -> None:
    """Deel told which organisation the token is of: it gets what was kept for the one that events did not name."""
    learn(db, fingerprint, organization_id=organization_id)
    of_its_own = (organizations.c.id == placeholder) & organizations.c.token_sealed.is_not(None)
    if db.execute(select(organizations.c.id).where(of_its_own)).first() is not None:
        return  # events that name no organisation are served by a token that was added for them
    for table in (runs, revocations, service_keys):
        db.execute(update(table).where(table.c.organization_id == placeholder).values(organization_id=organization_id))
    for table in (backfills, webhooks):  # where the organisation has its own already, that one counts
        mine, theirs = table.c.organization_id == placeholder, table.alias()
        same = [theirs.c[key.name] == key for key in table.primary_key if key.name != "organization_id"]
        free = ~exists().where(theirs.c.organization_id == organization_id, *same)
        db.execute(update(table).where(mine, free).values(organization_id=organization_id))
        db.execute(delete(table).where(mine))
    query = select(organizations).where(organizations.c.id == placeholder).with_for_update()
    paused = db.execute(query.where(organizations.c.paused_at.is_not(None))).one_or_none()
    if paused is not None:
        insert_or_ignore(db, organizations, id=organization_id)
        as_before = {name: getattr(paused, name) for name in ("paused_reason", "paused_step", "paused_at", "probe_at")}
        free = (organizations.c.id == organization_id) & organizations.c.paused_at.is_(None)
        db.execute(update(organizations).where(free).values(**as_before))
    db.execute(delete(organizations).where(organizations.c.id == placeholder))


def known(db: Connection, organization_id: str) -> bool:
    """Whether there is a run of it, or it was paused before."""
    of_runs = select(runs.c.id).where(runs.c.organization_id == organization_id).limit(1)
    own_row = select(organizations.c.id).where(organizations.c.id == organization_id)
    return any(db.execute(query).first() is not None for query in (of_runs, own_row))


def paused(db: Connection) -> Sequence[Any]:
    """The paused organisations: id, paused_reason, and when the next probe is (None: an engineer ends it)."""
    of = organizations.c
    return db.execute(
        select(of.id, of.paused_reason, of.probe_at).where(of.paused_at.is_not(None)).order_by(of.id)
    ).all()


def home(db: Connection, fingerprint: str | None) -> str | None:
    """The organisation of the configured token, once it was learnt."""
    row = learnt(db, fingerprint) if fingerprint else None
    return row.organization_id if row else None

"""Worker tokens: which issue was intended, which is sealed in the vault, which is known to be dead.

They belong to a profile and not to a run: a worker with two contracts still has only one token, and what is
issued for the second run kills what the first one got. Nor to an organisation as events name it: two names for
one would be two tokens, and the second would kill the first. The name that came first is kept, and sealed in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    String,
    bindparam,
    case,
    exists,
    not_,
    null,
    select,
    update,
)

from onboarding.masking import remember_secret
from onboarding.renewals import renew_at
from onboarding.runs import IssuedToken
from onboarding.store import data_keys, revocations
from onboarding.store.sql import UtcDateTime, from_now
from onboarding.store.tables import runs, worker_tokens
from onboarding.store.upsert import insert_or_ignore
from onboarding.vault import Keyring, open_sealed, seal

ENOUGH_LIFE_S: Final = 3600.0
"""A live token with less left than this is replaced (Deel's live 24 h)."""
COLUMN: Final = "worker_tokens.sealed"

_MINE = (runs.c.id == bindparam("run")) & (runs.c.fence == bindparam("held"))
_REVOKING = revocations.open_of(bindparam("profile", type_=String)).label("revoking")
_WISH = select(runs.c.reissue_asked, _REVOKING).where(_MINE).with_for_update(of=runs)
_SPEND_WISH = update(runs).where(_MINE).values(reissue_asked=False)
_HERE = worker_tokens.c.hris_profile_id == bindparam("profile")
_WORKS = worker_tokens.c.sealed.is_not(None) & worker_tokens.c.dead.is_(False)
_LONG = worker_tokens.c.expires_at > from_now(ENOUGH_LIFE_S)
_INTENDED = select(worker_tokens, (_WORKS & _LONG).label("lives")).where(_HERE).with_for_update()
_INTEND = update(worker_tokens).where(_HERE)
LIVES: Final = (
    _WORKS & (worker_tokens.c.stored_issue == worker_tokens.c.issue_number) & (worker_tokens.c.expires_at > from_now())
)
"""Of a worker's row: the token of the newest issue is in the vault, not known to be dead, and has time left."""
_LIVE = select(worker_tokens).where(_HERE, LIVES)
_THIS_ISSUE = _HERE & (worker_tokens.c.issue_number == bindparam("number"))
# not one that was buried: another run of the worker got the same answer, and was quicker to see it refused
_BURIED = worker_tokens.c.dead & (worker_tokens.c.stored_issue == bindparam("number"))
_UNBURIED = select(worker_tokens).where(_THIS_ISSUE, not_(_BURIED)).with_for_update()
_KEPT_ALIVE = exists().where(runs.c.hris_profile_id == bindparam("profile"), runs.c.keep_alive)
_KEEP = (
    update(worker_tokens)
    .where(_THIS_ISSUE)
    .values(
        stored_issue=bindparam("number"),
        sealed=bindparam("sealed"),
        expires_at=bindparam("expires_at"),
        dead=False,
        stored_at=from_now(),
        renew_at=case((_KEPT_ALIVE, bindparam("due_at", type_=UtcDateTime())), else_=null()),
    )
)
_FORGET = (
    update(worker_tokens)
    .where(worker_tokens.c.expires_at <= from_now(), worker_tokens.c.sealed.is_not(None))
    .values(sealed=None, dead=True)
)


@dataclass(frozen=True)
class Kept:
    """A token that works is there: no call is made."""

    issue_number: int
    expires_at: datetime


@dataclass(frozen=True)
class Intended:
    """The issue that is to be asked of Deel, committed before it is; `by` is the run in its Idempotency-Key.

    `wished`: an engineer asked for a new token, whatever becomes of the one that lives.
    """

    issue_number: int
    by: str
    wished: bool


@dataclass(frozen=True)
class Revoking:
    """Nothing may be asked of Deel yet: a DELETE is under way, and would end the new token as well."""


@dataclass(frozen=True)
class LiveToken:
    """A token out of the vault."""

    issue_number: int
    token: SecretStr
    expires_at: datetime


def intend(
    db: Connection, run_id: str, fence: int, organization_id: str, profile: str
) -> Kept | Intended | Revoking | None:
    """Decide which issue number the claim may ask for. None: a newer claim owns the run.

    An issue that was intended and never answered is asked for again under its own number, so that Deel
    answers with the token that it may have issued already. Otherwise a live token is kept, unless an
    engineer asked for a new one; that wish is spent by the intent.
    """
    mine = {"run": run_id, "held": fence}
    wish = db.execute(_WISH, mine | {"profile": profile}).one_or_none()
    if wish is None:
        return None
    if wish.revoking:
        return Revoking()
    if wish.reissue_asked:
        db.execute(_SPEND_WISH, mine)
    if insert_or_ignore(
        db,
        worker_tokens,
        hris_profile_id=profile,
        organization_id=organization_id,
        issue_number=1,
        intended_by=run_id,
        dead=False,
    ):
        return Intended(1, run_id, wish.reissue_asked)
    row = db.execute(_INTENDED, {"profile": profile}).one()
    if row.stored_issue != row.issue_number:  # never answered
        return Intended(row.issue_number, row.intended_by, wish.reissue_asked)
    if row.lives and not wish.reissue_asked:
        return Kept(row.issue_number, row.expires_at)
    db.execute(_INTEND, {"profile": profile, "issue_number": row.issue_number + 1, "intended_by": run_id})
    return Intended(row.issue_number + 1, run_id, wish.reissue_asked)


def keep(db: Connection, keyring: Keyring, profile: str, issued: IssuedToken) -> bool:
    """Seal a token that Deel issued. False: it is dead already, or a later issue was intended since."""
    mine = {"profile": profile, "number": issued.issue_number}
    row = db.execute(_UNBURIED, mine).one_or_none()
    if row is None:
        return False
    key = data_keys.get_or_make(db, keyring, _subject(row), likely_new=issued.issue_number == 1)
    sealed = seal(key, _binding(row, issued.issue_number), issued.token)
    due_at = renew_at(issued.expires_at, random.random())  # noqa: S311 - spreads them over hours
    db.execute(_KEEP, mine | {"sealed": sealed, "expires_at": issued.expires_at, "due_at": due_at})
    return True


def bury(db: Connection, profile: str, issue_number: int) -> None:
    """The token of this issue is of no use: never hand it out, and ask for the next number from now on.

    Counts as answered also where the token was never stored. A later issue is not touched.
    """
    db.execute(
        update(worker_tokens)
        .where(worker_tokens.c.hris_profile_id == profile, worker_tokens.c.issue_number == issue_number)
        .values(stored_issue=issue_number, dead=True, sealed=None)
    )


def live(db: Connection, keyring: Keyring, profile: str) -> LiveToken | None:
    """The worker's token, if the vault has one that is not known to be dead and has time left.

    Raises VaultError where the vault's keys do not open it.
    """
    row = db.execute(_LIVE, {"profile": profile}).one_or_none()
    if row is None:
        return None
    key = data_keys.get(db, keyring, _subject(row))
    token = open_sealed(key, _binding(row, row.stored_issue), row.sealed)
    remember_secret(token)
    return LiveToken(row.stored_issue, token, row.expires_at)


def live_of(profile: ColumnElement[str | None]) -> ColumnElement[bool]:
    """Of a query about runs: whether a token of this profile's lies in the vault and works."""
    return exists().where(worker_tokens.c.hris_profile_id == profile, _WORKS, worker_tokens.c.expires_at > from_now())


def forget_expired(db: Connection) -> int:
    """Take tokens out of the vault the moment they expire; returns how many."""
    return db.execute(_FORGET).rowcount


def subjects_of(db: Connection, profile: str) -> list[str]:
    """Whose data keys seal the worker's token: none where there never was one."""
    return [_subject(row) for row in db.execute(select(worker_tokens).where(_HERE), {"profile": profile})]


def _subject(row: Row[Any]) -> str:
    return f"worker:{row.organization_id}:{row.hris_profile_id}"


def _binding(row: Row[Any], issue_number: int) -> tuple[str | int, ...]:
    return (row.organization_id, row.hris_profile_id, issue_number, COLUMN)

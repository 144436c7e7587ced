"""What became of each event: accepted, duplicate, ignored or dead."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, bindparam, insert, select, update

from onboarding.events import Answer, Consented, Dead, Ending, Event, Ignored, Message, News, Why
from onboarding.runs import Facts, State, Step
from onboarding.store import data_keys, endings, facts, news, revocations
from onboarding.store.line import TAKEN, Line, limits, room_in
from onboarding.store.runs import note
from onboarding.store.sql import from_now, seconds
from onboarding.store.tables import dead_letters, events, runs
from onboarding.store.upsert import insert_or_ignore, or_ignore
from onboarding.vault import Keyring, open_sealed, seal

DEAD_LETTERS = "dead-letters"  # the data key of all of them
KEPT_BYTES = 1 << 20
_PLAIN = [column for column in dead_letters.c if column.name != "sealed"]
HOME = news.HOME
NO_WORD = "(sealed)"  # in place of a routing key that may be more than one: the letter's sealed part has it
# As a type's: no white space, no "@", so that no sender makes a column of ours hold an address.
_ROUTING_KEY = re.compile(r"[A-Za-z0-9._:/#*-]{0,255}")

ENDS: dict[str, Why] = {revocations.Cause.TERMINATED: Why.CONTRACT_TERMINATED, revocations.Cause.ERASED: Why.ERASED}
"""Why a contract's event starts no run any more."""
_RUN_OF = select(runs.c.id).where(runs.c.contract_id == bindparam("contract")).scalar_subquery().label("run_id")
_ENDED = revocations.ended_of(bindparam("contract")).label("ended")
_LOOK = select(_RUN_OF, _ENDED, *TAKEN)
_RUN = select(runs.c.id, runs.c.state, runs.c.organization_id, runs.c.contract_id).where(
    runs.c.contract_id == bindparam("contract")
)
_WHY_ENDED = select(_ENDED)
# a new hire whom a backfill had found before the event came
_TO_THE_LIVING = (
    update(runs).where(runs.c.id == bindparam("run"), runs.c.behind, runs.c.fence == 0).values(behind=False)
)
_NEW_RUN = {
    dialect: or_ignore(dialect, runs).values(
        nudge_at=from_now(seconds("nudge_in")), facts_at=from_now(seconds("facts_in"))
    )
    for dialect in ("postgresql", "sqlite")
}


@dataclass(frozen=True)
class NewRun:
    """A run that an event made. `in_line`: it waits for its turn; else it is to be nudged now."""

    run_id: str
    contract_id: str
    in_line: bool = False


@dataclass(frozen=True)
class Filing:
    """What intake knows when it files events."""

    keyring: Keyring
    home_organization: str  # of events that name none
    line: Line
    consent_required: bool = False


@dataclass
class Filed:
    """What a message led to: runs that are to be nudged now, and alarms that are to be told."""

    made: list[NewRun] = field(default_factory=list)
    changed: list[news.ChangedInput] = field(default_factory=list)


def file(db: Connection, message: Message, answers: Sequence[Answer], filing: Filing, source: str = "hris") -> Filed:
    """Write down what a message was read as, and do what it asks for. One transaction.

    Where too many of their organisation are under way, new runs wait in line, and are not among those to nudge.
    """
    filed = Filed()
    dead: Dead | None = None
    # in one order for all, as two messages that tell of the same contracts would else lock each other out
    for answer in sorted(answers, key=lambda answer: getattr(answer, "contract_id", None) or "~"):
        match answer:
            case Event():
                new = _file_event(db, answer, filing, filed)
                filed.made += [new] if new and not new.in_line else []
            case News():
                _file_news(db, answer, filing, filed)
            case Ending():
                _file_ending(db, answer, filing)
            case Consented():
                _file_consent(db, answer, filing)
            case Ignored():
                _disposed(db, answer, "ignored", answer.why, contract_id=answer.contract_id)
            case Dead() if _disposed(db, answer, "dead", answer.why):
                dead = dead or answer
            case Dead():
                pass
    if dead is not None:
        bury(db, message, dead.why, filing.keyring, source)
    return filed


def list_new(db: Connection, contract_ids: Sequence[str]) -> set[str]:
    """Those of the contracts that have no run."""
    known = select(runs.c.contract_id).where(runs.c.contract_id.in_(contract_ids))
    return set(contract_ids) - set(db.execute(known).scalars())


def file_listed(db: Connection, listed: Sequence[Event], filing: Filing) -> int:
    """Make a run for each contract of Deel's list that has none; returns how many. They wait in line."""
    in_one_order = sorted(listed, key=lambda event: event.contract_id)
    return sum(_file_event(db, event, filing, Filed()) is not None for event in in_one_order)


def file_ended(db: Connection, listed: Sequence[Ending], filing: Filing) -> None:
    """End the runs of contracts that have ended by Deel's list: no webhook told, or it comes later."""
    going_on = select(runs.c.contract_id).where(
        runs.c.contract_id.in_([ending.contract_id for ending in listed]), runs.c.state != State.CANCELLED
    )
    known = set(db.execute(going_on).scalars()) if listed else set()
    for ending in sorted(listed, key=lambda ending: ending.contract_id):
        if ending.contract_id in known:
            _file_ending(db, ending, filing)


def bury(db: Connection, message: Message, reason: str, keyring: Keyring, source: str) -> str:
    """Keep a message that nobody could use, sealed: it may hold personal data. Returns its id."""
    letter_id = secrets.token_hex(6)
    key = data_keys.get_or_make(db, keyring, DEAD_LETTERS)
    content = {
        "headers": {str(name): _text(value) for name, value in message.headers.items()},
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "routing_key": message.routing_key,
        "body": base64.b64encode(message.body[:KEPT_BYTES]).decode(),
    }
    db.execute(
        insert(dead_letters).values(
            id=letter_id,
            source=source,
            routing_key=message.routing_key if _ROUTING_KEY.fullmatch(message.routing_key) else NO_WORD,
            reason=reason,
            size=len(message.body),
            sealed=seal(key, (letter_id, "dead_letters.sealed"), SecretStr(json.dumps(content))),
        )
    )
    return letter_id


def letters(db: Connection) -> Sequence[Any]:
    """The dead letters without their contents, newest first."""
    return db.execute(select(*_PLAIN).order_by(dead_letters.c.received_at.desc())).all()


def letter(db: Connection, letter_id: str) -> Any:
    """A dead letter without its contents; None: there is none of this id."""
    return db.execute(select(*_PLAIN).where(dead_letters.c.id == letter_id)).one_or_none()


def open_letter(db: Connection, keyring: Keyring, letter_id: str) -> SecretStr | None:
    """A dead letter's headers and body as JSON; None: no such letter."""
    sealed = db.execute(select(dead_letters.c.sealed).where(dead_letters.c.id == letter_id)).scalar_one_or_none()
    if sealed is None:
        return None
    key = data_keys.get(db, keyring, DEAD_LETTERS)
    return open_sealed(key, (letter_id, "dead_letters.sealed"), sealed)


def _file_event(db: Connection, event: Event, filing: Filing, filed: Filed) -> NewRun | None:
    organization_id = event.organization_id or filing.home_organization
    seen = db.execute(_LOOK, {"contract": event.contract_id, **limits(organization_id, filing.line)}).one()
    if seen.run_id is not None:
        first = _disposed(db, event, "duplicate", "run_exists", contract_id=event.contract_id, run_id=seen.run_id)
        if not event.behind:
            db.execute(_TO_THE_LIVING, {"run": seen.run_id})
        if first:
            _heed(db, event, seen.run_id, filing, filed)
        return None
    if seen.ended is not None:
        _disposed(db, event, "ignored", ENDS[seen.ended], contract_id=event.contract_id)
        return None
    run_id = secrets.token_hex(8)
    if not _disposed(db, event, "accepted", None, contract_id=event.contract_id, run_id=run_id):
        return None  # this very event was filed before
    told = event.told
    has_room = not event.behind and room_in(seen, filing.line) > 0
    known = Facts(told.contract_type, told.emails, told.hris_profile_id) if told else None
    row = {
        "id": run_id,
        "organization_id": organization_id,
        "contract_id": event.contract_id,
        "state": State.PENDING,
        "step": Step.CONTRACT_CREATED,
        "behind": event.behind,
        "nudge_in": filing.line.lease_s if has_room else 0.0,
        "facts_in": 0.0 if known else None,
        "hris_profile_id": known.hris_profile_id if known else None,
        **(facts.columns(db, filing.keyring, event.contract_id, known, new_contract=True) if known else {}),
    }
    if db.execute(_NEW_RUN[db.dialect.name], row).first() is not None:
        return NewRun(run_id, event.contract_id, in_line=not has_room)
    # another event of this contract was filed between our look and our insert
    winner = select(runs.c.id).where(runs.c.contract_id == event.contract_id).scalar_subquery()
    db.execute(
        update(events)
        .where(events.c.dedup_key == event.dedup_key)
        .values(disposition="duplicate", reason="run_exists", run_id=winner)
    )
    return None


def _heed(db: Connection, event: Event | News, run_id: str, filing: Filing, filed: Filed) -> None:
    changed = news.heed(db, filing.keyring, run_id, event)
    if changed is not None:
        news.mark(db, event.dedup_key, changed)
        filed.changed.append(changed)


def _file_news(db: Connection, told: News, filing: Filing, filed: Filed) -> None:
    """Of a contract's run; of a worker's, where the event names no contract."""
    run_ids: list[str] = []
    if told.contract_id is not None:
        run_ids = [row.id for row in db.execute(_RUN, {"contract": told.contract_id})]
    elif told.hris_profile_id is not None:
        run_ids = news.of_profile(db, told.hris_profile_id)
    word, why = ("accepted", "run_exists") if run_ids else ("ignored", Why.NO_RUN)
    if _disposed(db, told, word, why, contract_id=told.contract_id, run_id=run_ids[0] if run_ids else None):
        for run_id in run_ids:
            _heed(db, told, run_id, filing, filed)


def _file_ending(db: Connection, ending: Ending, filing: Filing) -> None:
    """Proven, it is done; else it is asked of Deel first: a forged message must kill no worker's token.

    By the key of another organisation it is not proven: each has its own, and knows it.
    """
    contract, organization_id = ending.contract_id, ending.organization_id or filing.home_organization
    run = db.execute(_RUN, {"contract": contract}).one_or_none()
    run_id = run.id if run else None
    ended = db.execute(_WHY_ENDED, {"contract": contract}).scalar_one() or ""
    over = ended and (run is None or run.state == State.CANCELLED)
    proven = ending.signed and (run is None or news.is_of(run, ending))
    if over or (run is None and not proven):
        word, why = ("duplicate", ENDS[ended]) if over else ("ignored", Why.NO_RUN)
        _disposed(db, ending, word, why, contract_id=contract, run_id=run_id)
        return
    noted = Why.CONTRACT_TERMINATED if proven else "ending_unproven"
    if not _disposed(db, ending, "accepted", noted, contract_id=contract, run_id=run_id):
        return
    if proven:
        endings.terminate(db, contract, organization_id, filing.line.lease_s)
    else:
        revocations.ask(db, contract, run.organization_id if run else organization_id)


def _file_consent(db: Connection, consented: Consented, filing: Filing) -> None:
    contract, given = consented.contract_id, consented.given
    run: Any = db.execute(_RUN, {"contract": contract}).one_or_none()
    run_id = run.id if run else None
    why = "consent_given" if given else "consent_withdrawn"
    if _disposed(db, consented, "accepted", why, contract_id=contract, run_id=run_id):
        required, lease_s = filing.consent_required, filing.line.lease_s
        said = consented.evidence
        endings.decide(db, contract, said, given=given, required=required, lease_s=lease_s)
        if run is not None:
            note(db, said.who, "consent" if given else "consent_withdrawn", f"{said.evidence}, {said.version}", run)


def _disposed(
    db: Connection,
    answer: Answer,
    disposition: str,
    reason: str | None,
    *,
    contract_id: str | None = None,
    run_id: str | None = None,
) -> bool:
    """Write the event's row. False: it was written before, and this is a repeat of it."""
    row = {
        "source": answer.source,
        "type": _plain(getattr(answer, "type", None)),
        "organization_id": _plain(getattr(answer, "organization_id", None)),
        "contract_id": _plain(contract_id),
        "signed": getattr(answer, "signed", None),
    }
    if insert_or_ignore(
        db, events, dedup_key=answer.dedup_key, disposition=disposition, reason=reason, run_id=run_id, **row
    ):
        return True
    first = select(events.c.run_id).where(events.c.dedup_key == answer.dedup_key)
    run_id = db.execute(first).scalar_one_or_none()
    db.execute(insert(events).values(disposition="duplicate", reason="event_repeated", run_id=run_id, **row))
    return False


def _plain(text: str | None) -> str | None:
    """What a text column of both databases takes: no NUL, no lone surrogate, 128 characters."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()[:128] if text is not None else None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

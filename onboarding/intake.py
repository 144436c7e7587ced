"""Intake: an HRIS message becomes rows, in one transaction, before anybody acknowledges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from pydantic import SecretStr
from sqlalchemy import Connection

from onboarding import observe
from onboarding.events import Answer, Consented, Dead, Ending, Event, Ignored, Message, News, read
from onboarding.failpoints import fail_point
from onboarding.store import events, organizations
from onboarding.store.engine import Store, StoreUnavailable
from onboarding.store.events import HOME, Filed, Filing, NewRun
from onboarding.store.line import Line
from onboarding.store.news import ChangedInput
from onboarding.vault import Keyring, VaultError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """What takes events in: the store, the vault's keys, and the HRIS's signing keys by label.

    `fingerprint`: of the token for Deel, whose organisation the events belong to that name none.
    """

    store: Store
    keyring: Keyring
    signing_keys: Mapping[str, SecretStr]
    line: Line
    fingerprint: str | None = None
    consent_required: bool = False

    def accept(self, message: Message) -> list[NewRun]:
        """File a message; returns the runs that it made, to be nudged. The message may then be acknowledged.

        Never raises for what a message says. Raises StoreUnavailable or VaultError: nothing is filed,
        deliver it again once the store or the missing key is back.
        """
        answers = read(message, self.signing_keys)
        try:
            filed = self._file(message, answers)
        except (StoreUnavailable, VaultError):
            raise
        except Exception as defect:  # a message that trips us must not stop the queue
            observe.report_defect(defect)
            log.exception("intake_defect", size=len(message.body))
            self.bury(message, "internal_error")
            return []
        _tell(answers)
        for changed in filed.changed:
            _alarm(changed)
        return filed.made

    def bury(self, message: Message, reason: str, source: str = "hris") -> str:
        """Keep a message that cannot be used where `dead list` shows it; returns the dead letter's id."""
        letter = self.store.write(lambda db: events.bury(db, message, reason, self.keyring, source))
        log.warning("event_dead", dead_letter=letter, reason=reason)
        return letter

    def _file(self, message: Message, answers: list[Answer]) -> Filed:
        def file(db: Connection) -> Filed:
            nameless = any(isinstance(each, Event | Ending) and each.organization_id is None for each in answers)
            home = (organizations.home(db, self.fingerprint) if nameless else None) or HOME
            filing = Filing(self.keyring, home, self.line, self.consent_required)
            return events.file(db, message, answers, filing)

        fail_point("intake.recording")
        filed = self.store.write(file)
        fail_point("intake.recorded")
        return filed


def _alarm(changed: ChangedInput) -> None:
    log.warning(
        "changed_input",
        contract_id=changed.contract_id,
        run_id=changed.run_id,
        differs=" ".join(changed.facts),
        advice=f"onboarding show {changed.contract_id}",
    )
    for fact in changed.facts:
        observe.report_changed_input(changed.contract_id, changed.run_id, fact, changed.organization_id)


def _tell(answers: list[Answer]) -> None:
    for answer in answers:
        match answer:
            case Event() | News() | Ending():
                log.info("event_taken", type=answer.type, contract_id=answer.contract_id, signed=answer.signed)
            case Consented():
                log.info("event_taken", type=answer.type, contract_id=answer.contract_id)
            case Ignored():
                log.info("event_ignored", reason=answer.why)
            case Dead():
                log.warning("event_dead", reason=answer.why)

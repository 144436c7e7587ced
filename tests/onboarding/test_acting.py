"""Acting as a worker: a client that carries its token and renews it, that reaches Deel alone and shows nothing."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import FrameType

import httpx
import pytest
import structlog
from sqlalchemy import select, update

from onboarding import acting, observe
from onboarding.access import Access
from onboarding.dialling import within
from onboarding.issuing import Waits
from onboarding.no_token import ConsentMissing, NotNow, UnknownContract
from onboarding.store import consents
from onboarding.store.sql import from_now
from onboarding.store.tables import audit, worker_tokens
from tests.onboarding.raw_server import RawServer, http
from tests.onboarding.worlds import Driver

ME = "GET /people/me"
ASK = {"who": "app", "because": "a test"}


@pytest.fixture
def hired(onboard: Driver) -> Driver:
    """A completed run."""
    onboard.hire()
    onboard.carry()
    return onboard


@pytest.fixture
def access(hired: Driver) -> Iterator[Access]:
    with closing(Access.of(hired.world)) as made:
        yield replace(made, waits=Waits(patience_s=5.0, settle_s=0.02))


def audited(world: Driver) -> list[str]:
    return list(world.store.read(lambda db: db.execute(select(audit.c.did).order_by(audit.c.id)).scalars()))


def worker_calls(world: Driver) -> list[int]:
    return [call.status for call in world.deel.ledger.calls(ME) if call.token_kind in ("worker", "none")]


def test_it_acts_as_the_worker_and_leaves_an_audit_line(hired: Driver, access: Access):
    """One line for the block, however many requests."""
    with access.as_worker("c-1", **ASK) as deel:
        for _ in range(3):
            assert deel.get("/people/me").json()["email"] == "c-1@example.com"
    assert audited(hired) == ["token"]


def test_a_refused_token_is_renewed_once_and_the_request_repeated(hired: Driver, access: Access):
    """The app sees the answer to the repeated one."""
    with access.as_worker("c-1", **ASK) as deel:
        hired.deel.supersede("c-1")
        assert deel.post("/people/me", json={"a": 1}).status_code in (403, 404)
        assert deel.get("/people/me").status_code == 200
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_a_401_about_something_else_costs_no_token(hired: Driver, access: Access):
    """Deel says that the token works: the request is sent once more with it, and what comes then is the answer."""
    with access.as_worker("c-1", **ASK) as deel:
        hired.deel.fails(ME, status=401)
        assert deel.get("/people/me").status_code == 200
    assert hired.deel.tokens_issued_for("c-1") == 1


def test_one_that_is_about_to_expire_is_renewed_in_the_block(hired: Driver, access: Access):
    """Before the request that it would be too short for."""
    with access.as_worker("c-1", **ASK) as deel:
        worker = deel._auth._acting
        worker._live = replace(worker._live, expires_at=datetime.now(UTC) + timedelta(seconds=100))
        short = {"expires_at": from_now(100), "stored_at": from_now(-3600)}
        hired.store.write(lambda db: db.execute(update(worker_tokens).values(**short)))
        assert deel.get("/people/me").status_code == 200
    assert hired.deel.tokens_issued_for("c-1") == 2


def frames(error: BaseException) -> list[FrameType]:
    """Of our code and below: an app's error reports may show what they hold."""
    own = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [frame for frame in own if "/tests/" not in frame.f_code.co_filename] + (
        frames(error.__context__) if error.__context__ else []
    )


def take_once_then_be_spent() -> Callable[[acting.Worker], float]:
    """The slot has passed when the connection is there, and there is no other."""
    taken: list[float] = []

    def take(_worker: acting.Worker) -> float:
        if taken:
            raise NotNow("c-1", "rate_limited")
        taken.append(time.monotonic())
        return -1.0

    return take


def test_the_token_is_nowhere_to_be_seen(hired: Driver, access: Access, monkeypatch: pytest.MonkeyPatch):
    """Not in what the app holds, prints or catches, nor in the frames of what it catches."""
    token = hired.vault_token()
    with access.as_worker("c-1", **ASK) as deel:
        answer = deel.get("/people/me")
        hired.deel.cuts_connection(before=ME)
        with pytest.raises(httpx.RemoteProtocolError) as cut:
            deel.get("/people/me")
        monkeypatch.setattr(acting.Worker, "take", take_once_then_be_spent())
        with pytest.raises(NotNow) as late:
            deel.get("/people/me")
        with pytest.raises(NotNow) as spent:
            deel.get("/people/me")
        shown = [repr(deel), repr(answer), repr(answer.request.headers), str(answer.request.headers.raw)]
        shown += [repr(access.as_worker("c-1", **ASK)), repr(access), str(cut.value), repr(answer.request.extensions)]
        shown += ["".join(traceback.format_exception(cut.value))]
        shown += [repr(frame.f_locals) for error in (cut.value, late.value, spent.value) for frame in frames(error)]
    assert token
    assert token not in "".join(shown)


def test_it_goes_to_deel_alone(hired: Driver, access: Access):
    """An absolute URL, or a redirect, does not carry the token to another host."""
    with RawServer(lambda _: http(200)) as other, access.as_worker("c-1", **ASK) as deel:
        with pytest.raises(ValueError, match="Deel alone"):
            deel.get(f"http://127.0.0.1:{other.port}/rest/v2/people/me")
        with pytest.raises(ValueError, match="Deel alone"):
            deel.get("/people/me", auth=None)
        assert other.asked == []


def test_each_request_takes_its_turn_in_the_budget(hired: Driver, access: Access):
    """One that is spent is said so; the slots are those of all processes."""
    with access.as_worker("c-1", **ASK) as deel:
        budget = deel._auth._acting._budget
        before = budget.use().in_use
        deel.get("/people/me")
        assert budget.use().in_use == before + 1
        budget.hold(30)
        with within(0.2), pytest.raises(NotNow, match="rate_limited"):
            deel.get("/people/me")


def test_async_does_the_same_and_never_blocks_the_loop(hired: Driver, access: Access):
    """While Deel is slow, others go on."""

    async def act() -> tuple[list[int], float]:
        async with access.as_worker("c-1", **ASK) as deel:
            hired.deel.supersede("c-1")
            hired.deel.is_slow(ME, seconds=0.3, times=1)
            longest, ended = 0.0, False

            async def watch() -> None:
                nonlocal longest
                while not ended:
                    began = time.monotonic()
                    await asyncio.sleep(0.01)
                    longest = max(longest, time.monotonic() - began)

            watcher = asyncio.create_task(watch())
            answers = await asyncio.gather(*(deel.get("/people/me") for _ in range(3)))
            ended = True
            await watcher
            return [answer.status_code for answer in answers], longest

    statuses, longest = asyncio.run(act())
    assert statuses == [200, 200, 200]
    assert longest < 0.25
    assert hired.deel.tokens_issued_for("c-1") == 2


def test_a_consent_withdrawn_in_the_block_ends_it(hired: Driver, access: Access):
    """Once the token is revoked, there is no other."""
    careful = replace(access, consent_required=True)
    said = {"evidence": "e", "version": "1", "who": "w"}
    hired.store.write(lambda db: consents.record(db, "c-1", **said))
    with careful.as_worker("c-1", **ASK) as deel:
        assert deel.get("/people/me").status_code == 200
        hired.store.write(lambda db: consents.record(db, "c-1", given=False, **said))
        hired.world.clients.of(hired.run().organization_id).delete_session(hired.run().hris_profile_id)
        with pytest.raises(ConsentMissing):
            deel.get("/people/me")
    assert hired.deel.live_token("c-1") is None


def test_a_deel_that_is_away_and_a_packed_answer_are_httpx_errors(hired: Driver, access: Access):
    """What an app that knows httpx catches already."""
    replies = iter([http(200, b"x" * 10, content_encoding="gzip"), http(200, b"{}")])
    with RawServer(lambda _: next(replies)) as other, access.as_worker("c-1", **ASK) as deel:
        elsewhere = f"{other.url}/rest/v2"
        deel._transport._root = httpx.URL(elsewhere)
        with pytest.raises(httpx.RemoteProtocolError, match="packed"):
            deel.get(f"{elsewhere}/people/me")
        assert deel.get(f"{elsewhere}/people/me").json() == {}
    hired.deel.stop()
    with access.as_worker("c-1", **ASK) as deel, pytest.raises(httpx.ConnectError):
        deel.get("/people/me")


def test_who_has_no_token_is_told_so_at_the_beginning(access: Access):
    """Not at the first request."""
    with pytest.raises(UnknownContract), access.as_worker("c-9", **ASK):
        pass


def test_as_a_library_we_print_nothing(hired: Driver, access: Access, capsys, caplog):
    """Our lines go to the app's own logging, masked; where the app has set up structlog, to that."""
    structlog.reset_defaults()
    try:
        observe.leave_logging_to_the_app()
        hired.deel.supersede("c-1")
        with caplog.at_level(logging.INFO), access.as_worker("c-1", **ASK) as deel:
            deel.get("/people/me")
        set_up = structlog.get_config()
        observe.leave_logging_to_the_app()
        assert structlog.get_config() == set_up
    finally:
        structlog.reset_defaults()
    assert capsys.readouterr().out == ""
    said = [record for record in caplog.records if record.name == "onboarding.issuing"]
    assert [record.message for record in said] == ["token_superseded", "token_renewed"]
    assert said[0].contract_id == "c-1"

"""Named points where tests make the process die, fail or stall. Free when off: one look at an empty dict.

A point stands on each side of every call, commit, publish and ack, so that "what if it dies here?" has an
answer for each of them. Armed by a test (`arm`), or in a child process by the environment:
`ONBOARDING_FAILPOINTS="issue_token.called=kill, verify_token.recorded=pause:3"`; with
`ONBOARDING_FAILPOINTS_DIR` set, each fires once for all processes together (a file there remembers it).
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from onboarding.runs import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
STEP_POINTS: Final = (
    "claiming",  # before the claim is committed
    "claimed",  # the attempt's start is committed
    "calling",  # before a call to Deel or to a notification target (each one)
    "called",  # its answer is here, nothing is written
    "recording",  # before the outcome's transaction
    "recorded",  # it is committed, nothing is published or acknowledged
)
ACCESS_POINTS: Final = (
    "access.intending",  # before it is committed who issues a token on demand, and which number
    "access.intended",
    "access.calling",  # before a call to Deel for it
    "access.called",
    "access.keeping",  # before the token, or that it is dead, is committed
    "access.kept",
)
REVOKE_POINTS: Final = (
    "revoke.claiming",  # before a revocation's next try is committed
    "revoke.claimed",
    "revoke.calling",  # before Deel is asked whether a contract has ended, or to end a worker's session
    "revoke.called",
    "revoke.recording",  # before what came of it is committed
    "revoke.recorded",
)
ROUND_POINTS: Final = (
    "backfill.calling",  # before a page of Deel's list is asked for, on schedule
    "backfill.called",
    "backfill.recording",  # before its runs and the place of the next page are committed
    "backfill.recorded",
    "webhooks.calling",  # before Deel is asked after its webhook subscriptions
    "webhooks.called",
)
POINTS: Final = frozenset(
    [f"{step}.{point}" for step in STEPS for point in STEP_POINTS]
    + [
        "store.committing",  # any write of ours: all is said, nothing is committed
        "store.committed",
        "issue_token.intending",  # before the issue number is committed
        "issue_token.intended",
        "publish.before",  # any message of ours: the next link, a retry, a nudge, an outgoing event
        "publish.after",
        "task_ack.before",
        "task_ack.after",
        "intake.recording",  # before an event's row and run are committed
        "intake.recorded",
        "intake_ack.before",
        "intake_ack.after",
        "upkeep.recording",  # before the reconciler's new nudge times are committed
        "upkeep.recorded",
        "upkeep.calling",  # before onboarding.failed is sent to a target
        "upkeep.called",
        *ACCESS_POINTS,
        *REVOKE_POINTS,
        *ROUND_POINTS,
    ]
)

_armed: dict[str, Callable[[], None]] = {}


class Injected(Exception):  # noqa: N818 - it is what a test injected, no error of ours
    """A fail point of kind `raise` fired."""


def fail_point(name: str) -> None:
    """Do what a test armed this point with; nothing otherwise."""
    if _armed and name in _armed:
        _armed[name]()


def call(at: str, send: Callable[[], T]) -> T:
    """A call to the outside, with the points `at`.calling and `at`.called on each side."""
    fail_point(f"{at}.calling")
    answer = send()
    fail_point(f"{at}.called")
    return answer


def arm(name: str, action: Callable[[], None] | str) -> None:
    """Arm a point with a callable, or with a kind: `kill`, `raise`, `cut`, `disk_full`, `pause:SECONDS`,
    `clock:SECONDS` (ahead; of a process in which tests/chaos/skew.c is preloaded).

    Raises ValueError for a point or kind that does not exist: a test of nothing proves nothing.
    """
    if name not in POINTS:
        raise ValueError(f"no such fail point: {name}")
    _armed[name] = _action(action) if isinstance(action, str) else action


def disarm() -> None:
    """Free again."""
    _armed.clear()


def arm_from_environment() -> None:
    """Arm what ONBOARDING_FAILPOINTS names; called once by each process that runs steps or intake."""
    for entry in filter(None, os.environ.get("ONBOARDING_FAILPOINTS", "").replace(" ", "").split(",")):
        name, _, kind = entry.partition("=")
        arm(name, _once(name, _action(kind)))


def _action(kind: str) -> Callable[[], None]:
    word, _, argument = kind.partition(":")

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def injected() -> None:
        raise Injected(kind)

    def cut() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "injected")

    def disk_full() -> None:
        raise OSError(errno.ENOSPC, "injected")

    def pause() -> None:
        time.sleep(float(argument))

    def clock() -> None:
        os.environ["SKEW_S"] = argument

    actions = {"kill": kill, "raise": injected, "cut": cut, "disk_full": disk_full, "pause": pause, "clock": clock}
    if word not in actions:
        raise ValueError(f"no such kind of failure: {word}")
    return actions[word]


def _once(name: str, action: Callable[[], None]) -> Callable[[], None]:
    folder = os.environ.get("ONBOARDING_FAILPOINTS_DIR")
    if folder is None:
        return action
    marker = Path(folder, name)

    def first_time_only() -> None:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return
        action()

    return first_time_only

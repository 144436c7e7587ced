"""The HRIS: all at once, nothing for a day, and rubbish."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.chaos.auditor import Expected, keys_of
from tests.chaos.ending import Say
from tests.chaos.plant import Plant
from tests.chaos.scenarios import hire, scenario

STORM = 5000
CONTRACTS = 1000
MALFORMED = {"100,000": 100_000, "2,000": 2_000}
GOOD_EVERY = 1000


@scenario("5,000 events at once", rate=None, patience_s=400)
def storm(made: Plant, dice: random.Random, say: Say) -> Expected:
    """Of a thousand contracts, each five times, in any order."""
    names = [f"c-{number}" for number in range(CONTRACTS)]
    for name in names:
        made.system.deel.has_contract(name, email=f"canary-{name}@people.example")
    webhooks = [made.system.deel.webhook("contract.created", name) for name in names]
    messages = [(webhook.body, dict(webhook.headers)) for webhook in webhooks] * (STORM // CONTRACTS)
    dice.shuffle(messages)
    publish(made, messages)
    say(f"{len(messages)} events wait")
    made.begin()
    return Expected(names, messages=keys_of(made.system.deel, messages))


@scenario("a day's silence, then all at once")
def silence(made: Plant, _dice: random.Random, _say: Say) -> Expected:
    """The intake was down: what waited is older than its facts may be."""
    made.begin("worker-0", "worker-1", "beat")
    names = hire(made, 60)
    made.system.deel.clock.advance(24 * 3600)
    made.begin("intake")
    return Expected(names)


def _malformed(count: int, made: Plant, dice: random.Random, say: Say) -> Expected:
    made.begin()
    names = [f"c-{number}" for number in range(max(20, count // GOOD_EVERY))]
    for name in names:
        made.system.deel.has_contract(name, email=f"canary-{name}@people.example")
    good = [made.system.deel.webhook("contract.created", name) for name in names]
    messages = [(webhook.body, dict(webhook.headers)) for webhook in good]
    messages += [(mutated(dice, dice.choice(good).body), {}) for _ in range(count)]
    dice.shuffle(messages)
    began = time.monotonic()
    publish(made, messages)
    say(f"{len(messages)} messages confirmed in {time.monotonic() - began:.0f} s")
    return Expected(names, messages=keys_of(made.system.deel, messages))


for word, count in MALFORMED.items():
    short = count == min(MALFORMED.values())
    scenario(f"{word} malformed messages, good ones in between", short=short, rate=None, patience_s=3000)(
        partial(_malformed, count)
    )


def mutated(dice: random.Random, body: bytes) -> bytes:
    """A webhook's body, cut, flipped, doubled or stuffed, and never as it was."""
    broken = bytearray(body)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(broken) + 1)
        match dice.randrange(5):
            case 0:
                del broken[at : at + dice.randrange(1, 200)]
            case 1:
                broken[at:at] = dice.randbytes(dice.randrange(1, 30))
            case 2:
                broken[at:at] = dice.choice((b"{", b"[", b'"', b"\\u0000", b"null", b"1e999", b"\xff\xfe", b"," * 50))
            case 3:
                broken[at:at] = broken[: dice.randrange(100)]
            case _:
                broken[at : at + 1] = bytes([dice.randrange(256)])
    return bytes(broken[:-1])  # unsigned and without its end: no such text is JSON


def publish(made: Plant, messages: list[tuple[bytes, dict[str, str]]]) -> None:
    """All of them, each confirmed."""
    for body, headers in messages:
        made.system.publish(body, headers)

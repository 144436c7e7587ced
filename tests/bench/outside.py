"""Deel and the receiver of notifications, in a process of their own: what they cost is counted apart.

`python -m tests.bench.outside` says where they are, answers each line of its input with a line, and ends with its
input.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from onboarding.simulator import Simulator, Sink
from onboarding.simulator.webhooks import Webhook
from tests.bench.systems import signed

ROOT: Final = Path(__file__).parents[2]


class Outside:
    """The process, as the bench holds it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        here = self._answer()
        self.deel_url: str = here["deel_url"]
        self.deel_token: str = here["deel_token"]
        self.sink_url: str = here["sink_url"]
        self.secret: str = here["secret"]
        self.signing_key: str = here["signing_key"]

    def hire(self, contracts: Sequence[str]) -> list[Webhook]:
        """Let Deel have these; the signed webhook of each."""
        made = self._ask({"hire": list(contracts)})
        return [Webhook(base64.b64decode(each["body"]), each["headers"]) for each in made["webhooks"]]

    def told_of(self, contracts: Sequence[str], within_s: float) -> tuple[float, int]:
        """Wait until all were told of: when the last one was, on the monotonic clock, and calls to Deel so far.

        Raises TimeoutError.
        """
        told = self._ask({"await": list(contracts), "within_s": within_s})
        if told["at"] is None:
            raise TimeoutError(f"not told of within {within_s:g} s: {told['missing']} of {len(contracts)}")
        return told["at"], told["calls"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def outside() -> Iterator[Outside]:
    """Started, and gone at the end."""
    command = [sys.executable, "-m", "tests.bench.outside"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Outside(process)
        finally:
            process.kill()


def main() -> None:
    """A Deel without a limit, and a sink that counts."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with Simulator(rate=None) as deel, Sink(secret=secret) as sink:
        label, key = next(iter(deel.signing_keys.items()))
        _say(
            {"deel_url": deel.url, "deel_token": deel.org_token, "sink_url": sink.url,
             "secret": secret, "signing_key": f"{label}={key}"}
        )  # fmt: skip
        for line in sys.stdin:
            match json.loads(line):
                case {"hire": contracts}:
                    _say({"webhooks": [_hired(deel, contract) for contract in contracts]})
                case {"await": contracts, "within_s": within_s}:
                    missing = _missing(sink, set(contracts), time.monotonic() + within_s)
                    at = None if missing else time.monotonic()
                    _say({"at": at, "missing": len(missing), "calls": len(deel.ledger)})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _hired(deel: Simulator, contract: str) -> dict[str, Any]:
    webhook = signed(deel, contract)
    return {"body": base64.b64encode(webhook.body).decode(), "headers": dict(webhook.headers)}


def _missing(sink: Sink, contracts: set[str], deadline: float) -> set[str]:
    """Those that were not told of by the deadline. A message that came twice counts once."""
    while True:
        received = sink.received
        missing = contracts - {one.body["data"]["contract_id"] for one in received}
        if not missing:
            return missing
        try:
            sink.wait_for(len(received) + len(missing), deadline - time.monotonic())
        except TimeoutError:
            return contracts - {one.body["data"]["contract_id"] for one in sink.received}


if __name__ == "__main__":
    main()

"""What a peer does in its five steps: our three calls to Deel and one notification, with httpx as it comes.

No budget, no vault, no signature, no check of addresses: the least that does the job. Needs nothing of ours, as a
peer may have an environment of its own.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import httpx


@cache
def client() -> httpx.Client:
    """One for the process, made after a fork."""
    return httpx.Client(timeout=20.0)


def contract_created(contract: str) -> dict[str, Any]:
    """The webhook told the facts."""
    return {"contract_id": contract, "email": f"{contract}@example.com"}


def ensure_profile(facts: dict[str, Any]) -> dict[str, Any]:
    """POST /eor/worker."""
    made = _asked("POST", "/eor/worker", {"contract_id": facts["contract_id"]}, key=f"worker-{facts['contract_id']}")
    return {**facts, "hris_profile_id": made["data"]["hris_profile_id"]}


def issue_token(facts: dict[str, Any]) -> dict[str, Any]:
    """POST /workers/session."""
    profile = facts["hris_profile_id"]
    made = _asked("POST", "/workers/session", {"profile_id": profile}, key=f"session-{profile}")
    return {**facts, "token": made["data"]["token"], "expires_at": made["data"]["expires_at"]}


def verify_token(facts: dict[str, Any]) -> dict[str, Any]:
    """GET /people/me."""
    me = _asked("GET", "/people/me", token=facts["token"])
    told = me.get("data", me)
    if told["email"] != facts["email"]:
        raise ValueError("another person's account")
    return {name: value for name, value in facts.items() if name != "token"}


def notify(facts: dict[str, Any]) -> None:
    """POST to the receiver."""
    message = {"type": "onboarding.completed", "data": facts}
    client().post(os.environ["PEER_SINK_URL"], json=message).raise_for_status()


def _asked(
    method: str, path: str, body: dict[str, str] | None = None, *, key: str = "", token: str = ""
) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token or os.environ['PEER_DEEL_TOKEN']}"}
    if key:
        headers["idempotency-key"] = key
    url = os.environ["PEER_DEEL_URL"] + path
    answer = client().request(method, url, headers=headers, json=None if body is None else {"data": body})
    answer.raise_for_status()
    answered: dict[str, Any] = answer.json()
    return answered

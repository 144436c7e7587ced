"""What Deel leaves open, or might change: one switch each. The default is the likeliest reading."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

SessionField = Literal["profile_id", "hris_profile_id", "contract_id"]


class Policy(BaseModel):
    """Tests assign to it at any moment; a switch or value that does not exist is refused at once."""

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    # POST /eor/worker
    worker_created_status: Literal[200, 201] = 201  # OpenAPI says 201, the guide 200
    repeat_worker: Literal["same", "400", "duplicate"] = "same"
    enforce_people_write: bool = True  # off: the guide's scope set suffices

    enforce_webhook_scopes: bool = True  # OpenAPI names webhooks:read and :write, the guide says that none is needed

    # the session routes
    admin_scopes_enabled: bool | frozenset[str] = True  # or the ids of the organisations that have them
    session_fields: tuple[SessionField, ...] = ("profile_id",)  # the first is named when none is sent
    second_session: Literal["supersede", "refuse"] = "supersede"
    supersede_lag_s: float = 0.0
    token_life_s: float = 24 * 3600.0
    delete_wants: Literal["hris_profile_id", "worker_id"] = "hris_profile_id"  # Deel names the id, not which
    delete_repeat_status: Literal[404, 204] = 404

    # GET /people/me
    me_wrapped: bool = False
    worker_profile_type: str = "contractor"  # Deel's list has no word for an EOR worker

    # the limiter
    retry_after_s: int | None = None  # on a plain 429, where Deel documents no such header, and on a 503
    refused_calls_count: bool = False
    auth_failures_count: bool = True

    idempotency: bool = True
    end_cursor: Literal["empty", "last"] = "empty"  # GET /contracts, the last page's `page.cursor`

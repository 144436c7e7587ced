"""Deel's error bodies: one main shape, and the routes that have another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onboarding.simulator.visit import Answer, Json

if TYPE_CHECKING:
    from onboarding.simulator.visit import Visit

GATEWAY_PAGE: Final = (
    "<html>\r\n<head><title>{status}</title></head>\r\n<body><center><h1>{status}</h1></center></body>\r\n</html>"
)
MESSAGES: Final = {
    400: "Bad request",
    401: "Bearer token is missing, expired, or invalid",
    403: "Forbidden",
    404: "Not found",
    429: "Too many requests. Please wait before retrying.",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
}


def rate_limited(retry_after_s: int | None) -> Answer:
    """Source: Deel's API, rate limits page; it shows no header."""
    body = {"error": "Rate limit exceeded", "status": 429, "message": MESSAGES[429]}
    return Answer(429, body, _retry_after(retry_after_s))


def unavailable(visit: Visit, retry_after_s: int | None) -> Answer:
    """503. Source: RFC 9110, 10.2.3: it may name the seconds until Deel is back."""
    answer = error(visit, 503)
    return Answer(answer.status, answer.body, _retry_after(retry_after_s))


def path_not_found() -> Answer:
    """Source: Deel's guide, HTTP statuses."""
    return Answer(404, _messages("path not found"))


def twin_in_progress(retry_after_s: int) -> Answer:
    """Source: Deel's API, idempotency page; the body is not documented there."""
    body = _messages("A request with this Idempotency-Key is in progress")
    return Answer(429, body, _retry_after(retry_after_s))


def gateway_page(status: int) -> Answer:
    return Answer(status, page=GATEWAY_PAGE.format(status=f"{status} {MESSAGES.get(status, '')}".strip()))


def error(visit: Visit, status: int, message: str | None = None, path: str | None = None) -> Answer:
    """In the shape that Deel's OpenAPI files give this route and status."""
    message = message or MESSAGES.get(status, "Error")
    match visit.route.name if visit.route else "", status:
        case _, 429:
            return rate_limited(None)
        case ("GET /contracts", 400) | ("GET /contracts/{contract_id}", 404):
            request = {"method": visit.request.method, "status": status}
            return Answer(status, {**_messages(message), "request": request})
        case (("GET /people" | "GET /people/{hris_profile_id}"), 500):
            fault = {"code": "INTERNAL_SERVER_ERROR", "message": message, "details": None}
            return Answer(status, {"error": fault})
        case "GET /eor/workers/compliance-documents", 401 | 403 | 500:
            return Answer(status, {"errors": [{"code": str(status), "message": message}]})
        case "POST /eor/workers/compliance-documents/{document_id}", _:
            return Answer(status, _messages(message))
        case "GET /organizations", 401 | 404 | 500:
            return Answer(status, {"error": message})
        case _:
            return Answer(status, _container(visit, status, message, path))


def _retry_after(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(seconds)}


def _messages(message: str) -> Json:
    return {"errors": [{"message": message}]}


def _container(visit: Visit, status: int, message: str, path: str | None) -> Json:
    """ApiErrorContainer. Source: Deel's OpenAPI files; values of `source` and `code` from their example."""
    request: Json = {
        "method": visit.request.method,
        "url": visit.request.target,
        "status": status,
        "api_req_id": visit.request_id,
        "docs": "https://developer.deel.com/reference",
    }
    if path is None:
        return {"request": request, **_messages(message)}
    validator = {"source": "AJV", "code": 3}
    return {"request": {**request, **validator}, "errors": [{"message": message, "path": path}]}

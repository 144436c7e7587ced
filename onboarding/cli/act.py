"""`onboarding act`: do what a worker's token is for, from the command line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from onboarding import self_service
from onboarding.access import Access
from onboarding.cli.options import examples, impersonal, json_option
from onboarding.cli.printing import Column, moment, print_json, print_table
from onboarding.cli.refusal import WRONG_USAGE, Refusal
from onboarding.cli.start import require_store, start, who
from onboarding.deel import DeelFailure, TryLater
from onboarding.self_service import KINDS, Document, Payslip, VersionMismatch

if TYPE_CHECKING:
    from onboarding.transport import Client

MOST_BYTES: Final = 20 << 20


@dataclass(frozen=True)
class Wish:
    """What was typed, and for whom."""

    contract_id: str
    worker_id: str
    file: Path | None
    document: str | None
    signature: str | None
    version: str | None
    as_json: bool


@click.command(
    "act",
    epilog=examples(
        "onboarding act c-42 payslips",
        "onboarding act c-42 documents --json",
        "onboarding act c-42 upload passport.pdf --document 5f4e1f77-0f1c-4f6d-8b0f-1b1b4b1b1b1b",
        'onboarding act c-42 sign --signature "Ada Lovelace" --yes --because "asked on the phone, OPS-117"',
    ),
)
@click.argument("contract")
@click.argument("what", type=click.Choice(("payslips", "sign", "documents", "upload")))
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--document", metavar="ID", help="upload: for which of `documents`; else the one that is open.")
@click.option("--signature", metavar="NAME", callback=impersonal, help="sign: the worker's name, as it is to stand.")
@click.option("--version", metavar="TEXT", help="sign: the agreement's version; another one is not signed.")
@click.option("--yes", is_flag=True, help="sign: ask no question.")
@click.option("--because", metavar="TEXT", callback=impersonal, help="Why, for the audit line.")
@json_option
def act_command(
    *, contract: str, what: str, file: Path | None, yes: bool, because: str | None, as_json: bool, **typed: str | None
) -> None:
    """Act as a contract's worker: list payslips or documents, sign the agreement, upload a file.

    Goes by the worker's own token, which is renewed where none lives, and leaves an audit line. To sign, or to send
    a document, in a worker's name can bind the worker: have their consent first.
    """
    _refuse_misuse(what, file, typed)
    if what == "sign" and not yes:
        _ask(contract, str(typed["signature"]))
    settings = start()
    require_store(settings)
    why = because or f"onboarding act {what}"
    with (
        closing(Access.from_settings(settings)) as access,
        access.as_worker(contract, who=who(), because=why) as deel,
    ):
        row = access.run(contract)
        wish = Wish(row.contract_id, row.hris_profile_id, file, as_json=as_json, **typed)
        try:
            _ACTS[what](deel, wish)
        except DeelFailure as failure:
            refusal = _told(wish, what, failure)
        else:
            return
    raise refusal  # out here: it drags no request along


def _refuse_misuse(what: str, file: Path | None, typed: dict[str, str | None]) -> None:
    of = {"document": "upload", "signature": "sign", "version": "sign"}
    for name, act in of.items():
        if typed[name] is not None and what != act:
            raise click.UsageError(f"--{name} goes with `{act}`.")
    if (file is not None) != (what == "upload"):
        raise click.UsageError("`upload` takes a FILE, the others take none.")
    if what == "sign" and not typed["signature"]:
        raise click.UsageError("`sign` takes --signature: the worker's name, as it is to stand there.")
    if file is not None and file.suffix.lower() not in KINDS:
        raise click.UsageError(f"Deel takes {', '.join(KINDS)} alone.")
    if file is not None and file.stat().st_size > MOST_BYTES:
        raise click.UsageError(f"{file} has more than {MOST_BYTES >> 20} MB.")


def _ask(contract: str, signature: str) -> None:
    if not sys.stdin.isatty():
        raise Refusal(
            "nothing was signed",
            "Nobody is here to answer: --yes says it.",
            then=(shlex.join(["onboarding", "act", contract, "sign", "--signature", signature, "--yes"]),),
            code=WRONG_USAGE,
        )
    click.confirm(f"Sign the agreement of contract {contract} in the worker's name?", abort=True, err=True)


def _payslips(deel: Client, wish: Wish) -> None:
    found = self_service.payslips(deel, wish.worker_id)
    if wish.as_json:
        print_json([_payslip(each) for each in found])
    else:
        columns = [Column(name) for name in ("payslip", "from", "to", "status")]
        print_table(columns, [[value or "" for value in _payslip(each).values()] for each in found])


def _payslip(each: Payslip) -> dict[str, str | None]:
    ends = each.ends.isoformat() if each.ends else None
    return {"id": each.id, "from": each.begins.isoformat(), "to": ends, "status": each.status}


def _documents(deel: Client, wish: Wish) -> None:
    found = self_service.documents(deel)
    if wish.as_json:
        fields = {"id", "name", "status", "is_optional", "uploaded_at", "rejection_message"}
        print_json([each.model_dump(include=fields) for each in found])
        return
    rows = [
        (each.id, each.name, (each.status or "not uploaded").lower(), _need(each), moment(each.uploaded_at))
        for each in found
    ]
    print_table([Column(name) for name in ("document", "name", "status", "needed", "uploaded")], rows)


def _need(each: Document) -> str:
    if each.is_acknowledgement_only_document:
        return "to be acknowledged"
    return "optional" if each.is_optional else "yes"


def _upload(deel: Client, wish: Wish) -> None:
    assert wish.file is not None
    document = wish.document or _the_open_one(wish, self_service.documents(deel))
    kind, content = KINDS[wish.file.suffix.lower()], wish.file.read_bytes()
    self_service.upload(deel, document, wish.file.name, kind, content)
    _done(wish, {"document_id": document, "uploaded": True}, f"uploaded {wish.file.name} for document {document}")


def _the_open_one(wish: Wish, found: Sequence[Document]) -> str:
    """Which a file is for, where there is no doubt. Raises Refusal."""
    left = [each for each in found if each.status is None and not each.is_acknowledgement_only_document]
    needed = [each for each in left if not each.is_optional] or left
    if len(needed) == 1:
        return needed[0].id
    raise Refusal(
        "nothing was uploaded",
        f"{len(needed)} documents are open: --document says which it is for.",
        then=(f"onboarding act {wish.contract_id} documents",),
        code=WRONG_USAGE,
    )


def _sign(deel: Client, wish: Wish) -> None:
    self_service.sign(deel, wish.contract_id, wish.signature or "", wish.version)
    _done(wish, {"signed": True}, f"signed the agreement of contract {wish.contract_id}")


def _done(wish: Wish, document: dict[str, Any], said: str) -> None:
    if wish.as_json:
        print_json({"contract_id": wish.contract_id, **document})
    else:
        click.echo(said)


_ACTS: Final[dict[str, Callable[[Client, Wish], None]]] = {
    "payslips": _payslips,
    "documents": _documents,
    "upload": _upload,
    "sign": _sign,
}


def _told(wish: Wish, what: str, failure: DeelFailure) -> Refusal:
    what_not = f"`{what}` was not done for contract {wish.contract_id}"
    again, show = f"onboarding act {wish.contract_id} {what}", f"onboarding show {wish.contract_id}"
    match failure:
        case VersionMismatch():
            why = f"The agreement is another version than {wish.version or 'the one shown'} by now ({failure})."
            return Refusal(what_not, why, "Let the worker read it before it is signed.", then=(again,))
        case TryLater() if what in ("sign", "upload"):
            why = f"Deel did not answer as it should: {failure}. Whether it did it is not known."
            return Refusal(what_not, why, then=(f"onboarding act {wish.contract_id} documents", again))
        case TryLater():
            return Refusal(what_not, f"Deel did not answer as it should: {failure}.", then=(again,))
        case _ if failure.status == HTTPStatus.NOT_FOUND:
            return Refusal(what_not, f"Deel knows no such thing of this worker's ({failure}).", then=(show,))
        case _:
            return Refusal(what_not, f"Deel refused: {failure}.", "Its support goes by the request id.", then=(show,))

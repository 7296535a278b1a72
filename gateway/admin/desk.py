"""What acts are made of: who may, how it is confirmed, what the audit log keeps, and the gateway's answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.admin.approvals import APPROVED, PROPOSED, REFUSED, ApprovalError, Approvals, Proposal
from gateway.admin.audit import AuditError, AuditLog, Entry
from gateway.admin.tokens import Person
from gateway.admin.view import View
from gateway.config import Admin
from gateway.operators.channel import Answer, AnyCommand, ControlError, Kill, ListLimits, MoveTransfer, SetLimit, ask

# The control socket takes eight connections at a time; kills are never kept waiting by the others.
ASKED_AT_ONCE: Final = 4
# What a proposal carries out, by its kind. A kind that the gateway does not know can not be proposed.
KINDS: Final[dict[str, type[SetLimit | MoveTransfer]]] = {"limit": SetLimit, "transfer": MoveTransfer}
# What books money on a person's word, and so takes two of them.
SHARED_HAPPENINGS: Final = ("settled", "reversed")


class ActError(Exception):
    """An act that was not done; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Desk:
    """Carries out what persons ask for. Its methods block; they are called in threads."""

    def __init__(
        self,
        view: View,
        audit: AuditLog,
        rules: Admin,
        now_ns: Callable[[], int],
        asked: Callable[[AnyCommand], Answer] | None = None,
    ) -> None:
        self.view = view
        self.audit = audit
        self.now_ns = now_ns
        self.approvals = Approvals(rules.approval_life_s)
        self.approvals.restore(audit.entries)
        audit.entries.clear()
        self._fraction = rules.limit_approval_fraction
        self._directory = view.config.gateway.journal_directory
        self._asked = asked or (lambda command: ask(self._directory, command))
        self._lock = threading.Lock()  # of the audit log and the proposals
        self._places = threading.BoundedSemaphore(ASKED_AT_ONCE)

    def act(self, person: Person, act: str, command: AnyCommand, name: str, confirm: str) -> Answer:
        """Do what somebody has confirmed by typing the name again. Raises ActError."""
        about = _about(command)
        about.pop("do", None)
        if confirm != name:
            self.note(person, act, "refused", about | {"because": "not confirmed"})
            raise ActError(409, f"confirm must be {name!r}, typed again")
        return self._carried_out(person, act, command, about)

    def limits(self, account: str) -> list[dict[str, Any]]:
        """Return the limits of an account, or of all. Raises ActError."""
        rows: list[dict[str, Any]] = self.ask(ListLimits(account))["limits"]
        return rows

    def set_limit(self, person: Person, wanted: SetLimit, confirm: str) -> dict[str, Any]:
        """Change a limit, or propose to, where it is raised by more than one person may. Raises ActError."""
        if confirm != wanted.account:
            raise ActError(409, f"confirm must be {wanted.account!r}, typed again")
        names = (wanted.rule, wanted.key)
        row = next((row for row in self.limits(wanted.account) if (row["rule"], row["key"]) == names), None)
        if row is None:
            raise ActError(404, f"account {wanted.account} has no limit {wanted.key} {wanted.rule}".rstrip())
        command = msgspec.structs.replace(wanted, who=person.name, approved_by="")
        if Decimal(wanted.value) <= Decimal(row["approved"]) * (1 + self._fraction):
            answer = self._carried_out(person, "limit", command, _about(command))
            return {"outcome": "done", "proposal": None} | answer
        if Decimal(wanted.was) != Decimal(row["value"]):
            raise ActError(409, f"{wanted.key} is {row['value']}, not {wanted.was}")
        text = f"{wanted.key} {wanted.rule} {wanted.was} -> {wanted.value}: {wanted.reason}"
        number = self.propose(person, "limit", wanted.account, text, command)
        return {"outcome": "pending", "proposal": number}

    def move_transfer(self, person: Person, wanted: MoveTransfer, confirm: str) -> dict[str, Any]:
        """Tell what happened to a transfer, or propose to, where that books money. Raises ActError."""
        command = msgspec.structs.replace(wanted, who=person.name, approved_by="")
        if wanted.happening not in SHARED_HAPPENINGS:
            answer = self.act(person, "transfer", command, wanted.transfer, confirm)
            return {"outcome": "done", "proposal": None} | answer
        if confirm != wanted.transfer:
            raise ActError(409, f"confirm must be {wanted.transfer!r}, typed again")
        if wanted.happening == "settled" and not wanted.amount:
            raise ActError(409, "what settled has an amount")
        amount = f" {wanted.amount}" if wanted.amount else ""
        text = f"{wanted.happening}{amount} {wanted.reference}".rstrip() + f": {wanted.reason}"
        number = self.propose(person, "transfer", wanted.transfer, text, command)
        return {"outcome": "pending", "proposal": number}

    def propose(self, person: Person, kind: str, name: str, text: str, command: SetLimit | MoveTransfer) -> int:
        """Have something wait for a second person; return its number. Raises ActError."""
        assert type(command) is KINDS[kind]
        with self._lock:
            try:
                about = self.approvals.about(kind, name, text, _about(command), person.name, self.now_ns())
            except ApprovalError as error:
                raise ActError(409, str(error)) from None
            entry = self._append(person, PROPOSED, "pending", about)
            self.approvals.restore([entry])
            return entry.n

    def decide(self, person: Person, number: int, *, is_approval: bool, confirm: str) -> Answer:
        """Approve, or refuse, what another person proposed. Raises ActError."""
        with self._lock:
            proposal = self._decidable(person, number, is_approval=is_approval)
            if confirm != proposal.name:
                raise ActError(409, f"confirm must be {proposal.name!r}, typed again")
            about = {"proposal_number": number, "name": proposal.name, "text": proposal.text, "by": proposal.who}
            if not is_approval:
                self._append(person, REFUSED, "done", about)
                self.approvals.decided(number)
                return {}
            self.approvals.decided(number)  # whatever comes of it, it is not carried out twice
        command = msgspec.convert(proposal.command, KINDS[proposal.kind])
        return self._carried_out(person, APPROVED, msgspec.structs.replace(command, approved_by=person.name), about)

    def note(self, person: Person, act: str, outcome: str, about: dict[str, Any]) -> None:
        """Write into the audit log. Raises ActError where it can not be."""
        with self._lock:
            self._append(person, act, outcome, about)

    def ask(self, command: AnyCommand) -> Answer:
        """Return the gateway's answer. Raises ActError."""
        try:
            if isinstance(command, Kill):
                return self._asked(command)
            with self._places:
                return self._asked(command)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ActError(503, "no gateway runs") from None
        except ControlError as error:
            raise ActError(409, str(error)) from None
        except OSError as error:
            raise ActError(503, f"the gateway can not be reached: {error.strerror}") from None

    def _carried_out(self, person: Person, act: str, command: AnyCommand, about: dict[str, Any]) -> Answer:
        """Note what is asked, ask, note what came of it. A kill is not held up by a log that can not be written."""
        is_kill = isinstance(command, Kill)
        is_audited = True
        try:
            self.note(person, act, "asked", about)
        except ActError:
            if not is_kill:
                raise
            is_audited = False
        try:
            answer = self.ask(msgspec.structs.replace(command, token=person.token))
        except ActError as error:
            if is_audited:
                self.note(person, act, "refused", about | {"because": str(error)})
            raise
        if is_audited:
            self.note(person, act, "done", about | {"answer": answer})
        return answer | {"is_audited": is_audited}

    def _decidable(self, person: Person, number: int, *, is_approval: bool) -> Proposal:
        try:
            return self.approvals.decidable(number, person.name, is_approval=is_approval, now_ns=self.now_ns())
        except KeyError:
            raise ActError(404, f"no proposal {number} waits") from None
        except ApprovalError as error:
            self._append(person, APPROVED, "asked", {"number": number, "because": str(error)})
            raise ActError(403, str(error)) from None

    def _append(self, person: Person, act: str, outcome: str, about: dict[str, Any]) -> Entry:
        try:
            return self.audit.append(self.now_ns(), person.name, person.role, act, outcome, about)
        except AuditError as error:
            raise ActError(503, f"the audit log can not be written: {error}") from None


def _about(command: AnyCommand) -> dict[str, Any]:
    """Return a command as the audit log has it."""
    about: dict[str, Any] = msgspec.to_builtins(command)
    about.pop("token")
    return about

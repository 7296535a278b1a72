"""What takes two persons: one proposes, another approves, within a time. Rebuilt from the audit log at a start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.admin.audit import Entry

NS_PER_S: Final = 1_000_000_000
MAX_PENDING: Final = 100

# The acts in the audit log.
PROPOSED: Final = "propose"
APPROVED: Final = "approve"
REFUSED: Final = "refuse"


class ApprovalError(Exception):
    """A proposal that can not be approved or made; the text says why."""


class Proposal(msgspec.Struct, frozen=True):
    """What somebody wants done: `command` is the control command, as JSON, that carries it out."""

    number: int
    kind: str
    name: str  # what is typed again to confirm
    text: str
    command: dict[str, Any]
    who: str
    expires_ns: int


class Approvals:
    """Proposals that wait; a decided or expired one is gone, and stays in the audit log."""

    def __init__(self, life_s: int) -> None:
        self._life_ns = life_s * NS_PER_S
        self.pending: dict[int, Proposal] = {}

    def restore(self, entries: Iterable[Entry]) -> None:
        """Take up what an earlier process left."""
        for entry in entries:
            if entry.act == PROPOSED and entry.outcome == "pending":
                proposal = msgspec.convert(entry.about["proposal"] | {"number": entry.n}, Proposal)
                self.pending[entry.n] = proposal
            elif entry.act in (APPROVED, REFUSED) and entry.outcome != "asked":
                self.pending.pop(entry.about.get("proposal_number", 0), None)

    def about(self, kind: str, name: str, text: str, command: dict[str, Any], who: str, now_ns: int) -> dict[str, Any]:
        """Return what the audit log is to hold of a new proposal, whose number is the entry's. Raises ApprovalError."""
        self.expire(now_ns)
        if len(self.pending) >= MAX_PENDING:
            raise ApprovalError(f"{MAX_PENDING} proposals wait already")
        fields = {"kind": kind, "name": name, "text": text, "command": command, "who": who}
        return {"proposal": fields | {"expires_ns": now_ns + self._life_ns}}

    def decidable(self, number: int, who: str, *, is_approval: bool, now_ns: int) -> Proposal:
        """Return a proposal that this person may decide. Raises ApprovalError, KeyError where there is none."""
        self.expire(now_ns)
        proposal = self.pending[number]
        if is_approval and proposal.who == who:
            raise ApprovalError("who proposed it can not approve it")
        return proposal

    def decided(self, number: int) -> None:
        """Forget a proposal."""
        self.pending.pop(number, None)

    def expire(self, now_ns: int) -> None:
        """Forget what nobody has decided in time."""
        for number in [number for number, one in self.pending.items() if one.expires_ns <= now_ns]:
            del self.pending[number]

    def rows(self, now_ns: int) -> list[dict[str, Any]]:
        """Return what waits, the oldest first."""
        waiting = [one for one in list(self.pending.values()) if one.expires_ns > now_ns]
        return [
            {"number": one.number, "kind": one.kind, "name": one.name, "text": one.text, "who": one.who}
            | {"expires_in_s": (one.expires_ns - now_ns) / NS_PER_S}
            for one in waiting
        ]

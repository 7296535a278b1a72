"""All that the page shows, from the status page and the journal; read again and again beside the gateway."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Final

from gateway.admin.alerts import AlertBook
from gateway.admin.journal_view import JournalView
from gateway.admin.rules import Watch
from gateway.config import Config
from gateway.journal import JournalError, Tail
from gateway.margin.figures import text_of
from gateway.operators.showing import margin_use
from gateway.operators.status_page import Status, StatusPageError, read_status
from risk.telling import Quote

# Records taken up in one go; between two, requests are answered.
RECORDS_A_POLL: Final = 2_000
# One point a second: a quarter of an hour, of so many accounts, those nearest to their margin.
HISTORY_POINTS: Final = 900
HISTORY_ACCOUNTS: Final = 200
HISTORY_INTERVAL_NS: Final = 1_000_000_000
# Rows of one answer.
ROWS_TOLD: Final = 200
# States of a transfer of the gateway's own in which it has not begun.
AWAITING: Final = ("awaiting_approval", "ready")

Row = dict[str, Any]
Point = tuple[int, float | None, float | None, float | None]


class View:
    """What is known of one gateway. One task polls; whoever asks reads."""

    def __init__(self, config: Config, alerts: AlertBook) -> None:
        assert config.admin is not None
        self.config = config
        self.alerts = alerts
        self.journal = JournalView()
        self.status: Status | None = None
        self.trouble = ""  # why the journal can not be read
        self.history: dict[str, deque[Point]] = {}
        self.has_caught_up = False
        self._directory: Path = config.gateway.journal_directory
        self._tail = Tail(self._directory)
        self._watch = Watch(alerts, config.admin, config.monitor.report_interval_ms)
        self._drawn_ns = 0

    def poll(self, now_ns: int) -> bool:
        """Read what is new; True where there may be more in the journal already."""
        status: Status | None
        try:
            status = read_status(self._directory)
        except StatusPageError:
            status = None
        self.status = status
        self._watch.look(None if status is None else status.snapshot, self.age_ns(now_ns), now_ns)
        if status is not None and now_ns >= self._drawn_ns + HISTORY_INTERVAL_NS:
            self._drawn_ns = now_ns
            self._draw(status)
        return self._read_journal(now_ns)

    def age_ns(self, now_ns: int) -> int:
        """Return how old the newest snapshot is; 0 without one."""
        return 0 if self.status is None else max(0, now_ns - self.status.time_ns)

    @property
    def snapshot(self) -> Row:
        """The newest snapshot, empty without one."""
        return {} if self.status is None else self.status.snapshot

    def close(self) -> None:
        """Let go of the journal."""
        self._tail.close()

    def told(self, after: int, account: str, now_ns: int) -> Row:
        """Return what the page shows now; `after`: events since that sequence number, `account`: whose history."""
        snapshot, journal = self.snapshot, self.journal
        desk = snapshot.get("transfer_desk", {})
        accounts = sorted(snapshot.get("accounts", []), key=lambda row: -margin_use(row))
        nearest = {row["account"]: row for row in (snapshot.get("margins") or {}).get("nearest", [])}
        rows = [_account_row(row, nearest.get(row["account"], {})) for row in accounts[:ROWS_TOLD]]
        shown = account or (rows[0]["account"] if rows else "")
        return {
            "time_ns": now_ns,
            "gateway": self._gateway(now_ns),
            "accounts": rows,
            "accounts_in_all": len(accounts),
            "venues": self._venues(),
            "sessions": self._sessions(),
            "counters": {key: value for key, value in snapshot.items() if isinstance(value, int)},
            "rejects_by_code": snapshot.get("rejects_by_code", {}),
            "latency_us": snapshot.get("latency_us", {}),
            "ladder": snapshot.get("ladder", {"spot_moves": [], "vol_moves": [], "rows": []}),
            "history": {"account": shown, "points": list(self.history.get(shown, ()))},
            "events": journal.recent(after, ROWS_TOLD),
            "breaks": snapshot.get("open_breaks", [])[:ROWS_TOLD],
            "breaks_open": snapshot.get("breaks_open", {}),
            # Differences of a venue's session with our book; its account may only reduce from then on.
            "raised": list(journal.breaks)[-ROWS_TOLD:][::-1],
            "alerts": self.alerts.rows(now_ns)[:ROWS_TOLD],
            "hooks": snapshot.get("hooks", []),
            **{key: snapshot.get(key, [])[:ROWS_TOLD] for key in ("calls", "transfers", "collateral")},
            "awaiting": [row for row in desk.get("transfers", []) if row["state"] in AWAITING][:ROWS_TOLD],
            "house_calls": desk.get("house_calls", [])[:ROWS_TOLD],
            "levels": snapshot.get("levels", [])[:ROWS_TOLD],
            "margin_states": snapshot.get("margin_states", {}),
            "called_usd": snapshot.get("called_usd", 0.0),
            "is_watched": snapshot.get("margin_watch", {}).get("is_on", False),
            "counterparties": snapshot.get("counterparties", []),
        }

    def _gateway(self, now_ns: int) -> Row:
        return {
            "name": self.config.gateway.name,
            "is_up": self.status is not None,
            "age_ms": self.age_ns(now_ns) / 1e6 if self.status is not None else None,
            "uptime_s": self.snapshot.get("duration_s"),
            "last_sequence": self.journal.last_sequence,
            "has_caught_up": self.has_caught_up,
            "trouble": self.trouble,
            "killed": self.snapshot.get("controls", {}).get("killed", []),
        }

    def _venues(self) -> list[Row]:
        feeds = self.snapshot.get("feeds", {})
        return [
            {"venue": venue} | feeds.get(venue, {}) | {"state": state}
            for venue, state in self.snapshot.get("venues", {}).items()
        ]

    def _sessions(self) -> list[Row]:
        controls, logged_on = self.snapshot.get("controls", {}), self.snapshot.get("sessions", [])
        names = [session.name or session.target_comp_id for session in self.config.fix.session]
        return [
            {
                "session": name,
                "is_logged_on": name in logged_on,
                "is_killed": f"session {name}" in controls.get("killed", []),
                "throttled": controls.get("throttled", {}).get(name, 0),
                "waiting": controls.get("waiting", {}).get(name, 0),
            }
            for name in names[:ROWS_TOLD]
        ]

    def _draw(self, status: Status) -> None:
        rows = sorted(status.snapshot.get("accounts", []), key=lambda row: -margin_use(row))
        for row in rows[:HISTORY_ACCOUNTS]:
            points = self.history.pop(row["account"], None)
            if points is None:
                points = deque(maxlen=HISTORY_POINTS)
            points.append(
                (status.time_ns // 1_000_000, row["equity"], row["initial_margin"], row.get("maintenance_margin"))
            )
            self.history[row["account"]] = points  # the one drawn last is last
        while len(self.history) > 2 * HISTORY_ACCOUNTS:
            del self.history[next(iter(self.history))]

    def _read_journal(self, now_ns: int) -> bool:
        try:
            entries = self._tail.poll(RECORDS_A_POLL)
        except JournalError as error:
            if not self.trouble:
                self.alerts.happened("tail", "journal", "critical", f"journal can not be followed: {error}", now_ns)
            self.trouble = str(error)
            return False
        for entry in entries:
            self.journal.take(entry)
        self.has_caught_up = len(entries) < RECORDS_A_POLL
        return not self.has_caught_up


def _needs(told: Row, usd: float) -> str | None:
    """Return a requirement in what an account is told in."""
    quote = Quote(told["currency"], told["price_usd"] or 1.0)
    return text_of(quote, quote.needs(usd))


def _account_row(row: Row, figures: Row) -> Row:
    use = margin_use(row)
    told = row | {"margin_use": None if use == float("inf") else use}
    if told.get("maintenance_margin") is None and told["equity"] is not None:  # nor is it known where that is not
        needed = told["maintenance_margin"] = figures.get("maintenance_margin")
        if needed is not None and "told" in row:
            told["told"] = row["told"] | {"maintenance_margin": _needs(row["told"], needed)}
    return told

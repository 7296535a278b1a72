"""What the demo shows: one screen while it runs, and a summary afterwards. Pure: snapshots in, renderables out."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

EVENTS_MAX: Final = 100
# Margin use from which an account is watched, and from which it is in danger.
WATCHED, IN_DANGER = 0.6, 0.9
_STATE_STYLES: Final = {"live": "green", "trading": "green", "reducing": "yellow", "halted": "red"}
_EVENT_STYLES: Final = {"filled": "green", "rejected": "red"}
_DIM: Final = "bright_black"
# Told apart by shape too, for a terminal without colour.
_FILLED, _EMPTY = "━", "┈"
_HEAD_LINES, _FRAME_LINES, _COUNT_LINES, _EVENT_LINES, _SPARE_LINES = 3, 2, 6, 2, 4
_ORDERS_WIDTH, _NAMED_LIGHTS = 36, 5


class Scene(msgspec.Struct):
    """Everything that the screen shows at one moment."""

    seconds: float
    phase: str = "starting"
    elapsed_s: float = 0.0
    orders_per_s: float = 0.0
    page: str = ""  # where the operator's page is
    snapshot: dict[str, Any] = {}
    events: deque[dict[str, Any]] = msgspec.field(default_factory=lambda: deque(maxlen=EVENTS_MAX))

    def count(self, name: str) -> int:
        """Return a counter of the gateway, 0 before its first snapshot."""
        return int(self.snapshot.get(name, 0))


def picture(scene: Scene, width: int, height: int) -> RenderableType:
    """Return the screen for a terminal of this size; what does not fit is left out from the bottom."""
    accounts = scene.snapshot.get("accounts", [])
    reasons = scene.snapshot.get("rejects_by_code", {})
    # A high screen names every reason; a low one shows the most used accounts only. Events take what is left.
    rest = height - _HEAD_LINES - 3 * _FRAME_LINES - _EVENT_LINES
    count_lines = max(_COUNT_LINES, min(len(reasons), rest - len(accounts) - 1 - _SPARE_LINES))
    account_lines = max(2, min(len(accounts) + 1, rest - count_lines))
    screen = Layout()
    screen.split_column(
        Layout(_head(scene, width), size=_HEAD_LINES),
        Layout(name="counts", size=count_lines + _FRAME_LINES),
        Layout(_frame(_accounts(accounts, width, account_lines), "Margin"), size=account_lines + _FRAME_LINES),
        Layout(_frame(_events(scene), "Last events")),
    )
    screen["counts"].split_row(
        Layout(_frame(_orders(scene), "Orders"), size=_ORDERS_WIDTH),
        Layout(_frame(_refusals(reasons, width - _ORDERS_WIDTH - 4, count_lines), "Rejected, by reason")),
    )
    return screen


def progress_line(scene: Scene) -> str:
    """Return one plain line, for where there is no screen."""
    count = scene.count
    texts = [
        f"{scene.elapsed_s:5.1f} s",
        f"orders {count('orders_in'):,}",
        f"accepted {count('accepted'):,}",
        f"rejected {count('rejected'):,}",
        f"fills {count('fills'):,}",
        f"cancels {count('cancelled'):,}",
        f"p50 reject {_latency(scene, 'reject', 'p50')} us",
        f"accept {_latency(scene, 'accept', 'p50')} us",
    ]
    return "  ".join(texts)


def bar(share: float, width: int, style: str) -> Text:
    """Return a bar of `width` columns, filled by `share` of it; more than all is all."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return Text.assemble((_FILLED * filled, style), (_EMPTY * (width - filled), _DIM))


def _frame(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style=_DIM, padding=(0, 1))


def _head(scene: Scene, width: int) -> RenderableType:
    states = Text.assemble(("Margingate  ", "bold"), no_wrap=True, overflow="ellipsis")
    venues, feeds = scene.snapshot.get("venues", {}), scene.snapshot.get("feeds", {})
    for venue, state in venues.items():
        age = feeds.get(venue, {}).get("feed_age_ms")
        told = state if state != "live" or age is None else f"{age:,.0f} ms"
        states.append_text(_light(f"{short_name(venue)} {told}", _STATE_STYLES.get(state, "yellow")))
    sessions = scene.snapshot.get("sessions", [])
    named = sessions if len(sessions) + len(venues) <= _NAMED_LIGHTS else [f"{len(sessions)} sessions"]
    for session in named if sessions else ():
        states.append_text(_light(session, "green"))
    shown_s = min(scene.elapsed_s, scene.seconds)
    right = f" {shown_s:.0f} of {scene.seconds:.0f} s  {scene.phase}"
    share = scene.elapsed_s / scene.seconds if scene.seconds else 1.0
    progress = bar(share, max(10, width - 36), "cyan")
    latencies = Text.assemble(
        ("latency, us  ", _DIM),
        *_latency_parts(scene, "reject", "  "),
        *_latency_parts(scene, "accept", ""),
        no_wrap=True,
    )
    if scene.page:
        latencies = Text.assemble(latencies, ("  page ", _DIM), scene.page, no_wrap=True, overflow="ellipsis")
    return Group(states, latencies, Text.assemble(progress, right, no_wrap=True, overflow="ellipsis"))


def _latency_parts(scene: Scene, which: str, end: str) -> list[tuple[str, str]]:
    parts = [(f"{which} ", "")]
    for percentile in ("p50", "p99"):
        parts += [(f"{percentile} ", _DIM), (f"{_latency(scene, which, percentile):>6}  ", "bold")]
    return [*parts, (end, "")]


def short_name(venue: str) -> str:
    """Return a simulated venue's name without what all of them have."""
    return venue.removeprefix("sim-")


def _light(text: str, style: str) -> Text:
    return Text.assemble(("● ", style), f"{text}  ")


def _orders(scene: Scene) -> Table:
    count = scene.count
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    working = sum(row["working_orders"] for row in scene.snapshot.get("accounts", []))
    unknown = Text(f"{count('unknown'):,}", "red" if count("unknown") else "")
    table.add_row("in", Text(f"{count('orders_in'):,}", "bold"), " per s", f"{scene.orders_per_s:,.0f}")
    table.add_row("accepted", Text(f"{count('accepted'):,}", "green"), " fills", f"{count('fills'):,}")
    table.add_row("rejected", Text(f"{count('rejected'):,}", "red"), " cancels", f"{count('cancelled'):,}")
    table.add_row("by venue", f"{count('venue_rejects'):,}", " replaces", f"{count('replaced'):,}")
    table.add_row("working", f"{working:,}", " checks", f"{count('checks_run'):,}")
    table.add_row("unknown", unknown, " records", f"{count('journal_records'):,}")
    return table


def _latency(scene: Scene, which: str, percentile: str) -> str:
    values = scene.snapshot.get("latency_us", {}).get(which, {})
    return f"{values[percentile]:,.0f}" if values.get("count") else "-"


def ranked(rejects: dict[str, int]) -> list[tuple[str, int]]:
    """Return reasons with their counts, the most frequent first."""
    return sorted(rejects.items(), key=lambda item: (-item[1], item[0]))


def reason_text(name: str) -> str:
    """Return a reason's name as words."""
    return name.replace("_", " ").lower().replace("cl ord id", "ClOrdID")


def _refusals(rejects: dict[str, int], width: int, lines: int) -> RenderableType:
    reasons = ranked(rejects)
    if not reasons:
        return Text("none yet", _DIM)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, width=22)
    table.add_column(justify="right", no_wrap=True, width=5)
    table.add_column(no_wrap=True)
    shown = reasons if len(reasons) <= lines else reasons[: lines - 1]
    for name, number in shown:
        table.add_row(reason_text(name), f"{number:,}", bar(number / reasons[0][1], max(4, width - 30), "red"))
    if others := reasons[len(shown) :]:
        table.add_row(Text(f"{len(others)} other reasons", _DIM), f"{sum(number for _, number in others):,}", "")
    return table


def margin_use(row: dict[str, Any]) -> float | None:
    """Return initial margin as a share of equity; None where it is unknown, infinite where there is no equity."""
    equity, margin = row["equity"], row["initial_margin"]
    if equity is None or margin is None:
        return None
    return float(margin / equity) if equity > 0 else float("inf")


def _accounts(rows: list[dict[str, Any]], width: int, lines: int) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, width=8)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    header = ("account", "state", "equity USD", "margin USD", "working", "use", "of equity")
    table.add_row(*(Text(text, _DIM) for text in header))
    shown = rows if len(rows) < lines else sorted(rows, key=lambda row: -(margin_use(row) or 0.0))[: lines - 1]
    for row in shown:
        use = margin_use(row)
        style = "red" if use is None or use >= IN_DANGER else "yellow" if use >= WATCHED else "green"
        table.add_row(
            row["account"],
            Text(row["state"], _STATE_STYLES.get(row["state"], "")),
            "unknown" if row["equity"] is None else f"{row['equity']:,.0f}",
            "unknown" if row["initial_margin"] is None else f"{row['initial_margin']:,.0f}",
            f"{row['working_orders']:,}",
            Text("unknown" if use is None else f"{min(use, 9.99):.0%}", style),
            bar(use or 0.0, max(6, width - 60), style),
        )
    return table


def _events(scene: Scene) -> RenderableType:
    """Alerts first, since they are for a person to act on; then what clients were told, the youngest first."""
    lines = [
        Text(alert, "yellow", no_wrap=True, overflow="ellipsis") for alert in scene.snapshot.get("alerts", [])[-2:]
    ]
    lines += [event_line(event) for event in reversed(scene.events)]
    return Group(*lines) if lines else Text("none yet", _DIM)


def event_line(event: dict[str, Any]) -> Text:
    """Return one line about an order that was filled or rejected; of a refusal its reason comes first."""
    what = event["event"]
    reason, _, detail = event["text"].partition(" ")
    text = Text.assemble((f"{what:9}", _EVENT_STYLES.get(what, "")), f"{event['account']:8} ", no_wrap=True)
    text.overflow = "ellipsis"
    if reason:
        text.append(f"{reason} ", "bold")
    text.append(f"{event['side']} {event['quantity']} {event['symbol']} at {event['price']}")
    if detail:
        text.append(f"  {detail}", _DIM)
    return text

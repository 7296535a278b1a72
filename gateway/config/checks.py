"""What is wrong between several keys: of one table, and of the whole document."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.config.admin import Admin, check_admin
from gateway.config.collateral import (
    Channel,
    Collateral,
    Route,
    check_channel,
    check_collateral,
    check_route,
    check_ways,
)
from gateway.config.counterparties import (
    Counterparty,
    Reconciliation,
    check_counterparty,
    check_reconciliation,
)
from gateway.config.credentials import private_file_problem
from gateway.config.guards import Guard, check_guard
from gateway.config.history import read_days
from gateway.config.hook import Hook, HookClient, check_client, check_hook
from gateway.config.levels import House, LevelInstrument, LevelLimits, Stress
from gateway.config.listeners import check_listener
from gateway.config.margin_calls import MarginProfile, check_profile
from gateway.config.parameters import Parameters, check_parameters
from gateway.config.rules import KeyPath, Problem, TableCheck
from gateway.config.schedules import Schedule
from gateway.config.schema import (
    Account,
    Fix,
    InstrumentLimits,
    Limits,
    Margin,
    Market,
    Session,
)
from gateway.config.sessions import check_between, check_schedule, check_session
from gateway.config.values import is_loopback
from gateway.config.venue_rules import VENUE_RULES
from gateway.config.venues import DEFAULT_DAY_ENDS_UTC, Venue
from protocols.fix.plain import MAX_ENCODED_BYTES
from risk.collateral import rules as collateral_rules
from risk.models import MarginError
from risk.periods import PeriodRow, why_no_periods
from risk.profiles import constraints
from risk.scenarios import Grid
from risk.venue_models import refuse_unknown

Found = Iterator[tuple[KeyPath, str]]


def _check_fix(values: Mapping[str, Any]) -> Found:
    yield from check_listener(values)
    certificate, host = values.get("tls_certificate_file"), values.get("listen_host")
    backlog, buffer = values.get("market_data_backlog_bytes"), values.get("max_write_buffer_bytes")
    # Market data, and lists of instruments, each stop at the backlog, and a message more may have been on its way.
    if backlog is not None and buffer is not None and 2 * (backlog + MAX_ENCODED_BYTES) > buffer:
        yield (
            ("market_data_backlog_bytes",),
            f"with {backlog}, max_write_buffer_bytes must be at least {2 * (backlog + MAX_ENCODED_BYTES)}, not "
            f"{buffer}: else market data alone has a client disconnected",
        )
    authority = values.get("tls_client_ca_file")
    if authority is not None and not authority.is_file():
        yield ("tls_client_ca_file",), f"there is no file {authority}"
    if authority is not None and certificate is None:
        yield ("tls_client_ca_file",), "client certificates take TLS: give tls_certificate_file and tls_key_file"
    if authority is None and values.get("tls_requires_client_certificate"):
        yield ("tls_requires_client_certificate",), "takes tls_client_ca_file: whose certificates count"
    is_public = host is not None and not is_loopback(host)
    for index, session in enumerate(values.get("session", ())):
        yield from _session_at_door(("session", index), session, is_public, authority is not None)


def _session_at_door(path: KeyPath, session: Session, is_public: bool, has_authority: bool) -> Found:
    certificate = "certificate_subject" if session.certificate_sha256 is None else "certificate_sha256"
    has_certificate = session.certificate_sha256 is not None or session.certificate_subject is not None
    if has_certificate and not has_authority:
        yield (*path, certificate), "takes tls_client_ca_file in [fix]: else no certificate is asked for"
    if is_public and session.authentication == "none" and not has_certificate:
        yield (
            (*path, "authentication"),
            "listen_host can be reached from other machines, and anybody could log on: give an authentication, or "
            "certificate_sha256 or certificate_subject",
        )


# authentication -> the keys of which it takes exactly one; it takes none of the others'.
_PROOFS = {
    "none": (),
    "password": ("credentials_file", "credentials_env"),
    "hmac": ("credentials_file", "credentials_env"),
    "ed25519": ("public_key", "public_key_file"),
}


def _check_session(values: Mapping[str, Any]) -> Found:
    yield from check_session(values)
    method = values.get("authentication")
    if method is None or any(key not in values for keys in _PROOFS.values() for key in keys):
        return
    takes = _PROOFS[method]
    if takes and (values[takes[0]] is None) == (values[takes[1]] is None):
        yield (takes[0],), f'authentication = "{method}" takes either {takes[0]} or {takes[1]}: one of the two'
    for key in sorted({key for keys in _PROOFS.values() for key in keys} - set(takes)):
        if values[key] is not None:
            yield (key,), f'has no use with authentication = "{method}"'
    if (file := values["credentials_file"]) is not None and (problem := private_file_problem(file)):
        yield ("credentials_file",), problem
    if (file := values["public_key_file"]) is not None and not file.is_file():
        yield ("public_key_file",), f"there is no file {file}"


def _check_instrument(values: Mapping[str, Any]) -> Found:
    if "symbol" in values and "pattern" in values and (values["symbol"] is None) == (values["pattern"] is None):
        yield ("symbol",), "give either symbol or pattern: one of the two"


def _check_limits(values: Mapping[str, Any]) -> Found:
    earlier: list[str] = []
    for index, entry in enumerate(values.get("instrument", ())):
        name = entry.symbol or entry.pattern
        hiding = next((pattern for pattern in earlier if pattern == name or fnmatchcase(name, pattern)), None)
        if hiding is not None:
            yield (
                ("instrument", index),
                f"{name} comes after {hiding}, which fits first: this entry would never be used",
            )
        earlier.append(name)


def _check_market(values: Mapping[str, Any]) -> Found:
    interval, max_age = values.get("generation_interval_ms"), values.get("generation_max_age_ms")
    if interval is not None and max_age is not None and max_age < 2 * interval:
        yield (
            ("generation_max_age_ms",),
            f"must be at least twice generation_interval_ms, {2 * interval}, not {max_age}: else every check fails",
        )


def _check_margin(values: Mapping[str, Any]) -> Found:
    spot_moves, vol_moves = values.get("spot_moves"), values.get("vol_moves")
    if spot_moves and vol_moves:
        try:
            Grid(spot_moves, vol_moves)
        except ValueError as error:
            yield ("spot_moves",), str(error)


def _check_venue(values: Mapping[str, Any]) -> Found:
    if "credentials_file" in values and "credentials_env" in values:
        file, prefix = values["credentials_file"], values["credentials_env"]
        if (file is None) == (prefix is None):
            yield ("credentials_file",), "give either credentials_file or credentials_env: one of the two"
        if file is not None and (problem := private_file_problem(file)):
            yield ("credentials_file",), problem
    yield from _check_addresses(values)
    yield from _check_words(values)
    shortest, longest = values.get("reconnect_min_ms"), values.get("reconnect_max_ms")
    if shortest is not None and longest is not None and longest < shortest:
        yield ("reconnect_max_ms",), f"must not be less than reconnect_min_ms, {shortest}, not {longest}"
    if (ca_file := values.get("ca_file")) is not None and not ca_file.is_file():
        yield ("ca_file",), f"there is no file {ca_file}"


def _check_addresses(values: Mapping[str, Any]) -> Found:
    is_deribit = values.get("kind") == "deribit"
    if is_deribit and "url" in values and values["url"] is None:
        yield ("url",), "is missing; it must be an address like wss://host/path"
    for key in ("url", "public_url", "private_url", "trade_url", "rest_url"):
        url = values.get(key)
        if url is None:
            continue
        if is_deribit and key != "url":
            yield (key,), "is not for deribit, which has one connection: url"
        elif reason := _url_problem(url, "https" if key == "rest_url" else "wss"):
            yield (key,), reason


def _check_words(values: Mapping[str, Any]) -> Found:
    """Check what the venue's own tables know: its budgets, its words, its times."""
    kind, rules = values.get("kind"), VENUE_RULES.get(values.get("kind", ""))
    if rules is None:
        return
    for name in values.get("budgets", {}):
        if name not in rules.budgets:
            yield ("budgets", name), f"{kind} has no such limit; it has {', '.join(rules.budgets) or 'none of these'}"
    word = values.get("self_trade")
    if word is not None and word not in rules.self_trade_modes:
        yield ("self_trade",), f"{kind} has no such word; it has {', '.join(rules.self_trade_modes) or 'none'}"
    seconds, (shortest, longest) = values.get("dead_man_s"), rules.dead_man_s
    if seconds is not None and values.get("cancel_on_disconnect") and not shortest <= seconds <= longest:
        yield ("dead_man_s",), f"must be from {shortest} to {longest} for {kind}, not {seconds}"
    if kind == "deribit" and values.get("day_ends_utc", DEFAULT_DAY_ENDS_UTC) != DEFAULT_DAY_ENDS_UTC:
        yield ("day_ends_utc",), "is not for deribit, which ends its day orders itself"
    for index, product in enumerate(values.get("products", ())):
        if product not in rules.products:
            yield ("products", index), f"{kind} has no such product; it has {', '.join(rules.products) or 'none'}"


def _url_problem(url: str, scheme: str = "wss") -> str | None:
    # The address itself is never repeated: somebody may have written a password into it.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"must be an address like {scheme}://host/path"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return "must have no user, password, query or fragment; credentials come from credentials_file or _env"
    plain = scheme.removesuffix("s")
    if not host or parts.scheme not in (plain, scheme) or not url.isascii() or any(mark <= " " for mark in url):
        return f"must be an address like {scheme}://host/path"
    if parts.scheme == plain and not is_loopback(host):
        return (
            f"must begin with {scheme}://; {plain}:// is for loopback only, as orders and tokens would travel in clear"
        )
    return None


def _check_hook(values: Mapping[str, Any]) -> Found:
    yield from check_listener(values)
    yield from check_hook(values)
    # Over the WebSocket the kernel does not say who is there.
    if "socket_path" in values and values["socket_path"] is None:
        for index, client in enumerate(values.get("client", ())):
            if client.authentication == "peer":
                yield ("client", index, "authentication"), "peer takes socket_path: the WebSocket takes a token"


def _check_hook_client(values: Mapping[str, Any]) -> Found:
    yield from check_client(values)
    if (file := values.get("credentials_file")) is not None and (problem := private_file_problem(file)):
        yield ("credentials_file",), problem


def _check_stress(values: Mapping[str, Any]) -> Found:
    file = values.get("history_file")
    if file is not None:
        try:
            read_days(file)
        except ValueError as error:
            yield ("history_file",), f"{file.name} {error}"
    if values.get("default_loss") and not values.get("default_moves"):
        yield ("default_loss",), "takes default_moves: how coins move meanwhile, [0] for not at all"


def _check_house(values: Mapping[str, Any]) -> Found:
    rows = [PeriodRow(one.days, one.product or "", one.venue or "") for one in values.get("period", ())]
    if reason := why_no_periods(rows):
        yield ("period",), reason
    chosen = values.get("collateral_set")
    if chosen is None:
        if values.get("collateral_eligible"):
            yield ("collateral_eligible",), "takes collateral_set: which haircuts they have"
        return
    try:
        known, _ = collateral_rules(chosen)
    except MarginError as error:
        yield ("collateral_set",), str(error)
        return
    for index, asset in enumerate(values.get("collateral_eligible", ())):
        if asset not in known.assets:
            yield ("collateral_eligible", index), f"{asset} is not in the set {chosen}"


def _check_account(values: Mapping[str, Any]) -> Found:
    for index, name in enumerate(values.get("profiles", ())):
        try:
            constraints([name])
        except ValueError as error:
            yield ("profiles", index), str(error)
    subs = values.get("sub_account", ())
    for index, sub in enumerate(subs):
        if sub.venue in [other.venue for other in subs[:index]]:
            yield ("sub_account", index, "venue"), f'there is another sub_account at "{sub.venue}" before this one'
        if len(subs) > 1 and not sub.collateral:
            yield ("sub_account", index), "takes collateral: with several, what lies at one does not lie at another"
        try:
            refuse_unknown(sub.model, sub.parameter_set)
        except ValueError as error:
            yield ("sub_account", index, "parameter_set"), str(error)
        if sub.leverage is not None and sub.model != "tiered":
            yield ("sub_account", index, "leverage"), f'has no use with model = "{sub.model}"'


def _check_counterparty(values: Mapping[str, Any]) -> Found:
    yield from check_counterparty(values)
    for name in ("credentials_file", "tls_key_file"):
        if (file := values.get(name)) is not None and (problem := private_file_problem(file)):
            yield (name,), problem


def _check_admin(values: Mapping[str, Any]) -> Found:
    yield from check_listener(values)
    yield from check_admin(values)


def _check_channel(values: Mapping[str, Any]) -> Found:
    yield from check_channel(values)
    if (file := values.get("credentials_file")) is not None and (problem := private_file_problem(file)):
        yield ("credentials_file",), problem
    if (url := values.get("rest_url")) is not None and (reason := _url_problem(url, "https")):
        yield ("rest_url",), reason
    if (ca_file := values.get("ca_file")) is not None and not ca_file.is_file():
        yield ("ca_file",), f"there is no file {ca_file}"


TABLE_CHECKS: dict[type[Struct], TableCheck] = {
    Account: _check_account,
    Channel: _check_channel,
    Collateral: check_collateral,
    Counterparty: _check_counterparty,
    Admin: _check_admin,
    Fix: _check_fix,
    Guard: check_guard,
    Hook: _check_hook,
    House: _check_house,
    HookClient: _check_hook_client,
    InstrumentLimits: _check_instrument,
    LevelInstrument: _check_instrument,
    LevelLimits: _check_limits,
    Limits: _check_limits,
    Margin: _check_margin,
    MarginProfile: check_profile,
    Market: _check_market,
    Parameters: check_parameters,
    Reconciliation: check_reconciliation,
    Route: check_route,
    Schedule: check_schedule,
    Session: _check_session,
    Stress: _check_stress,
    Venue: _check_venue,
}


def _periods_elsewhere(document: Mapping[str, Any]) -> Iterator[Problem]:
    """A margin period of a venue that is not there is a slip of the pen, and would leave the default in force."""
    names = [name for way in (("venue",), ("fix", "counterparty")) for _, name in _column(document, way, "name")]
    for path, name in _column(document, ("house", "period"), "venue"):
        if name not in names:
            yield Problem(path, f'there is no venue "{name}"')


def check_document(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong between tables. The document may be anything that TOML allows."""
    accounts = _column(document, ("account",), "name")
    yield from _repeated(accounts, "account")
    sessions = _tables(document, ("fix", "session"))
    yield from check_between(document, sessions)
    venues = _tables(document, ("venue",))
    counterparties = _tables(document, ("fix", "counterparty"))
    yield from _same_names(venues)
    yield from _unlisted(document)
    yield from _repeated(_column(document, ("margin_calls", "profile"), "name"), "profile")
    known = {name for _, name in accounts}
    adjust = document.get("adjust")
    house = adjust.get("house_account") if isinstance(adjust, dict) else None
    if isinstance(house, str) and house not in known:
        yield Problem(("adjust", "house_account"), _no_account(house))
    yield from _repeated(_column(document, ("venue",), "name"), "venue")
    yield from _periods_elsewhere(document)
    others = _column(document, ("fix", "counterparty"), "name")
    yield from _repeated(others, "counterparty")
    taken = {name for _, name in _column(document, ("venue",), "name")}
    for path, name in others:
        if name in taken:  # breaks are told by the name of whose book it is
            yield Problem(path, "a venue has this name")
    yield from _repeated(_column(document, ("hook", "client"), "name"), "client of the hook")
    yield from _repeated(_column(document, ("collateral", "channel"), "name"), "channel")
    routes = _tables(document, ("collateral", "route"))
    channels = [channel for _, channel in _tables(document, ("collateral", "channel"))]
    houses = {str(one.get("name")) for _, one in counterparties if one.get("kind") == "clearing_house"}
    yield from check_ways(document, routes, channels, houses)
    hooked = _tables(document, ("hook", "client"))
    for path, session in [*sessions, *hooked, *venues, *counterparties, *routes]:
        listed = session.get("accounts")
        for index, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and name not in known:
                yield Problem((*path, "accounts", index), _no_account(name))


def _no_account(name: str) -> str:
    return f'there is no [[account]] with the name "{name[:64]}"'.encode("unicode_escape").decode("ascii")


def _same_names(venues: list[tuple[KeyPath, dict[str, Any]]]) -> Iterator[Problem]:
    """Two venues that list the same symbols would share instruments, where neither has a suffix of its own."""
    seen: set[tuple[str, str]] = set()
    for path, venue in venues:
        listed, suffix = venue.get("instruments"), venue.get("symbol_suffix", "")
        for index, symbol in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(symbol, str) and isinstance(suffix, str):
                if (symbol, suffix) in seen:
                    yield Problem((*path, "instruments", index), "another venue lists the same: give a symbol_suffix")
                seen.add((symbol, suffix))


def _unlisted(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield desks, firms and venues that are named and not there."""
    for kind, users in (("desk", ("account",)), ("firm", ("desk",))):
        listed = _column(document, (kind,), "name")
        yield from _repeated(listed, kind)
        names = {name for _, name in listed}
        for path, name in _column(document, users, kind):
            if name not in names:
                yield Problem(path, _escaped(f'there is no [[{kind}]] with the name "{name[:64]}"'))
    venues = {name for _, name in _column(document, ("venue",), "name")}
    for path, account in _tables(document, ("account",)):
        for at, sub in _tables(account, ("sub_account",)):
            venue = sub.get("venue")
            if isinstance(venue, str) and venue not in venues:
                yield Problem((*path, *at, "venue"), _escaped(f'there is no [[venue]] with the name "{venue[:64]}"'))


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _repeated(column: list[tuple[KeyPath, str]], what: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, name in column:
        if name in seen:
            text = f'there is another {what} "{name[:64]}" before this one'
            yield Problem(path, text.encode("unicode_escape").decode("ascii"))
        seen.add(name)


def _column(document: Mapping[str, Any], where: tuple[str, ...], key: str) -> list[tuple[KeyPath, str]]:
    return [((*path, key), table[key]) for path, table in _tables(document, where) if isinstance(table.get(key), str)]


def _tables(document: Mapping[str, Any], where: tuple[str, ...]) -> list[tuple[KeyPath, dict[str, Any]]]:
    found: Any = document
    for key in where:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list):
        return []
    return [((*where, index), table) for index, table in enumerate(found) if isinstance(table, dict)]

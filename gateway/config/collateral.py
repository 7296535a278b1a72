"""The tables of transfers of collateral that the gateway makes itself, and what is wrong between their keys."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from gateway.config.rules import DISTINCT, NOT_EMPTY, POSITIVE, KeyPath, Problem, Rule, between, matching
from gateway.config.values import ENVIRONMENT_PREFIX, Currency, Name, Table
from protocols.venues.transfer_codecs import CODECS

# Nothing moves by itself before a risk manager has said how much may.
DEFAULT_AUTOMATIC_USD = Decimal(0)
DEFAULT_AUTOMATIC_HOUR_USD = Decimal(0)
DEFAULT_TWO_PERSON_USD = Decimal(1_000_000)
# A call is due in an hour: an approval that takes a quarter of it leaves time for another way.
DEFAULT_APPROVAL_TIMEOUT_S = 900
DEFAULT_PLAN_INTERVAL_MS = 1_000
DEFAULT_ANSWER_TIMEOUT_S = 10
# Longer than any venue takes a request after its time stamp (Binance: 60 s): none can come to life after that.
DEFAULT_LOST_AFTER_S = 90
DEFAULT_RETRY_S = 300
DEFAULT_WARNED_WITHIN_S = 3_600
# An intraday call of a clearing house that names no time is due in about an hour.
DEFAULT_HOUSE_CALL_PERIOD_S = 3_600

USD = Rule("from 0 to 1e12, with at most eight decimals", lambda v: 0 <= v <= 10**12 and v * 10**8 == int(v * 10**8))
AMOUNT = Rule("from 0 to 1e9, with at most eight decimals", lambda v: 0 <= v <= 10**9 and v * 10**8 == int(v * 10**8))
PLACE = matching(
    r"house|(client|venue|clearing_house):[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    'that is "house", or "client:", "venue:" or "clearing_house:" and a name',
)
WALLET = matching(r"[!-~]{0,96}", "of up to 96 characters, ASCII, without spaces")

Found = Iterator[tuple[KeyPath, str]]


class Channel(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "What routes call it."]
    kind: Annotated[
        Literal["deribit", "binance", "okx", "bybit"],
        "Whose transfers it makes. A counterparty that clears is a channel of its own, by its name.",
    ]
    rest_url: Annotated[str | None, "Its REST host: https://, or http:// on loopback; none: the venue's own."] = None
    credentials_file: Annotated[
        Path | None, "A key that may transfer and not trade: a file as a venue's, mode 0600; or `credentials_env`."
    ] = None
    credentials_env: Annotated[str | None, ENVIRONMENT_PREFIX, "PREFIX of the environment, as of a venue."] = None
    ca_file: Annotated[Path | None, "Certificates to trust instead of the system's, PEM."] = None


class Route(Table, frozen=True, kw_only=True):
    name: Annotated[Name, "Names the way to operators. What is on no route does not move."]
    channel: Annotated[Name, "Who moves it: a channel, or a counterparty that clears."]
    asset: Annotated[Currency, "What moves."]
    source: Annotated[str, PLACE, "From where. A client's: a wallet of which it has given us the use."]
    target: Annotated[str, PLACE, "To where."]
    accounts: Annotated[tuple[Name, ...], NOT_EMPTY, DISTINCT, "Whose collateral may take it."]
    source_wallet: Annotated[str, WALLET, "The source, as the channel calls it (docs/transfers.md)."] = ""
    target_wallet: Annotated[str, WALLET, "The target, as the channel calls it."] = ""
    settle_s: Annotated[int, between(0, 864_000), "How long it takes at the most."] = 60
    haircut_bps: Annotated[int, between(0, 10_000), "What of its value does not count at the target."] = 0
    flat_fee: Annotated[Decimal, AMOUNT, "What each transfer costs, in the asset."] = Decimal(0)
    fee_bps: Annotated[int, between(0, 10_000), "What it costs besides, as a part of the amount."] = 0
    minimum: Annotated[Decimal, AMOUNT, "The least that moves."] = Decimal(0)
    step: Annotated[Decimal, AMOUNT, POSITIVE, "Amounts are whole multiples of this."] = Decimal("0.00000001")
    reserve: Annotated[Decimal, AMOUNT, "What must stay at the source."] = Decimal(0)
    mandate: Annotated[
        Decimal, AMOUNT, "Of a client's source: how much of it we may have taken, and not given back, at one time."
    ] = Decimal(0)


class Collateral(Table, frozen=True, kw_only=True):
    route: Annotated[tuple[Route, ...], NOT_EMPTY, "One table a way that collateral may take."]
    channel: Annotated[tuple[Channel, ...], "One table a key at a venue that moves it."] = ()
    automatic_usd: Annotated[Decimal, USD, "Transfers up to this value are made without a person."] = (
        DEFAULT_AUTOMATIC_USD
    )
    automatic_hour_usd: Annotated[Decimal, USD, "All together, in an hour, up to this."] = DEFAULT_AUTOMATIC_HOUR_USD
    two_person_usd: Annotated[Decimal, USD, "Above this value two people approve, else one."] = DEFAULT_TWO_PERSON_USD
    covers: Annotated[
        Literal["called", "warned", "nothing"],
        "Whose shortfall is planned for: accounts that were called, or from a warning on; nothing: only what people "
        "and clearing houses ask for.",
    ] = "called"
    approval_timeout_s: Annotated[int, between(1, 864_000), "A transfer that nobody approves by then is dropped."] = (
        DEFAULT_APPROVAL_TIMEOUT_S
    )
    plan_interval_ms: Annotated[int, between(10, 600_000), "How often a plan is made at the most."] = (
        DEFAULT_PLAN_INTERVAL_MS
    )
    answer_timeout_s: Annotated[int, between(1, 600), "A request without an answer by then is asked about."] = (
        DEFAULT_ANSWER_TIMEOUT_S
    )
    lost_after_s: Annotated[
        int, between(61, 86_400), "A transfer that its venue does not know, asked twice, has failed after so long."
    ] = DEFAULT_LOST_AFTER_S
    retry_s: Annotated[int, between(1, 86_400), "A route that has failed is not taken again for so long."] = (
        DEFAULT_RETRY_S
    )
    warned_within_s: Annotated[int, between(1, 864_000), "In what time a warned account is to be topped up."] = (
        DEFAULT_WARNED_WITHIN_S
    )
    house_call_period_s: Annotated[
        int, between(1, 864_000), "When a clearing house's call is due that names no time."
    ] = DEFAULT_HOUSE_CALL_PERIOD_S


def check_channel(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one channel, but for its files and its address."""
    given = [values[key] for key in ("credentials_file", "credentials_env") if key in values]
    if len(given) == 2 and (given[0] is None) == (given[1] is None):
        yield ("credentials_file",), "give either credentials_file or credentials_env: one of the two"


def check_route(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between the keys of one route."""
    source, target = values.get("source"), values.get("target")
    if source is None or target is None:
        return
    kinds = source.partition(":")[0], target.partition(":")[0]
    if source == target:
        yield ("target",), "is where it comes from"
    elif "clearing_house" in kinds and "house" not in kinds:
        yield ("target",), "a clearing house is given to, and gives back to, the house"
    elif kinds == ("client", "client"):
        yield ("target",), "moves nothing of ours"
    if kinds[0] == "client" and not values.get("mandate"):
        yield ("mandate",), "is missing; of a client's wallet no more is taken than the client has allowed"
    if kinds[0] != "client" and values.get("mandate"):
        yield ("mandate",), "is for what comes from a client"


def check_collateral(values: Mapping[str, Any]) -> Found:
    """Yield what is wrong between limits, and between routes."""
    automatic, two = values.get("automatic_usd"), values.get("two_person_usd")
    if automatic is not None and two is not None and automatic > two:
        yield ("two_person_usd",), f"must not be less than automatic_usd, {automatic}, not {two}"
    names: set[str] = set()
    ways: set[tuple[str, str, str, str]] = set()
    for index, route in enumerate(values.get("route", ())):
        if route.name in names:
            yield ("route", index, "name"), f'there is another route "{route.name}" before this one'
        names.add(route.name)
        for account in route.accounts:
            way = (account, route.asset, route.source, route.target)
            if way in ways:
                yield ("route", index), f"another route takes {route.asset} of {account} the same way"
            ways.add(way)


def check_ways(
    document: Mapping[str, Any],
    routes: list[tuple[KeyPath, dict[str, Any]]],
    channel_tables: list[dict[str, Any]],
    houses: set[str],
) -> Iterator[Problem]:
    """Yield routes that nobody can take: the document may be anything that TOML allows."""
    if routes and not isinstance(document.get("margin_calls"), dict):
        yield Problem(("collateral",), "takes [margin_calls]: who is short is what that watches")
    kinds = {str(one.get("name")): str(one.get("kind")) for one in channel_tables}
    for path, route in routes:
        channel, ends = route.get("channel"), [str(route.get(end, "")) for end in ("source", "target")]
        house = next((end.partition(":")[2] for end in ends if end.startswith("clearing_house:")), None)
        if house is not None and house not in houses:
            yield Problem(path, "there is no [[fix.counterparty]] of kind clearing_house with the name in its places")
        elif house is not None and channel != house:
            yield Problem((*path, "channel"), f'must be "{house}": a clearing house is reached by its own session')
        elif house is None and isinstance(channel, str):
            codec = CODECS.get(kinds.get(channel, ""))
            wallets = str(route.get("source_wallet", "")), str(route.get("target_wallet", ""))
            if codec is None:
                yield Problem((*path, "channel"), "there is no [[collateral.channel]] with this name")
            elif fault := codec.wallet_fault(*wallets):
                yield Problem(path, fault)

"""Deribit's, Binance's, OKX's and Bybit's requests for transfers, and what their answers mean.

What is a definite refusal of a submission is listed; any other error may hide a transfer that was made, and is UNKNOWN.

Sources: docs.deribit.com private/submit_transfer_between_subaccounts, get_transfers; developers.binance.com sub-account
universal transfer; the OKX v5 guide, funds transfer and its state; bybit-exchange.github.io v5 asset transfers.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

import orjson

from protocols.venues.binance_encode import Requests as BinanceRequests
from protocols.venues.bybit_encode import Requests as BybitRequests
from protocols.venues.clock_offset import ClockOffset
from protocols.venues.codec import HttpRequest, HttpResponse
from protocols.venues.okx_encode import rest_request as okx_request
from protocols.venues.signing import Keyring
from protocols.venues.transfers import (
    Ending,
    Outcome,
    TransferAsk,
    TransferCodec,
    body_of,
    ended,
    refused,
    text_of,
    unknown,
)

# How long a venue may take our time stamp for: a request that is older is refused, and so can not come to life late.
RECV_WINDOW_MS: Final = 5_000
NS_PER_MS: Final = 1_000_000
MS_PER_DAY: Final = 86_400_000
# Of a list of transfers, newest first: ours was made a moment ago.
LISTED: Final = 100


class DeribitTransfers:
    """Wallets are ids of (sub)accounts. By HTTP, each request signed by itself: no token is kept."""

    PATH: Final = "/api/v2/private/"
    REFUSALS: Final = frozenset({"10009", "10028", "11029", "11051", "13004", "13009", "13021", "-32602", "-32601"})
    WORDS: Final = {
        "confirmed": Ending.SETTLED,
        "prepared": Ending.PENDING,
        "waiting_for_admin": Ending.PENDING,
        "cancelled": Ending.REFUSED,
        "insufficient_funds": Ending.REFUSED,
        "withdrawal_limit": Ending.REFUSED,
        "reversed": Ending.REVERSED,
    }

    def __init__(self, keyring: Keyring, secret: str, entropy: Callable[[int], bytes]) -> None:
        self._keyring = keyring
        self._secret = secret.encode()
        self._entropy = entropy

    def __repr__(self) -> str:
        return "DeribitTransfers()"

    @classmethod
    def wallet_fault(cls, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets."""
        is_good = all(wallet.isascii() and wallet.isdigit() for wallet in (source, target)) and source != target
        return None if is_good else "wallets at Deribit are two ids of accounts"

    def submit(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask for a transfer; `nonce` is the venue's name for an id that counts once."""
        query = f"currency={ask.asset}&amount={ask.amount}&destination={ask.target_wallet}"
        query += f"&source={ask.source_wallet}&nonce={ask.client_id}"
        return self._request(request_id, f"submit_transfer_between_subaccounts?{query}", now_ns, deadline_ns)

    def query(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask for the last transfers of the asset; ours has its nonce."""
        return self._request(request_id, f"get_transfers?currency={ask.asset}&count={LISTED}", now_ns, deadline_ns)

    def _request(self, request_id: int, method: str, now_ns: int, deadline_ns: int) -> HttpRequest:
        target = f"{self.PATH}{method}"
        stamp, nonce = now_ns // NS_PER_MS, self._entropy(8).hex()
        signed = f"{stamp}\n{nonce}\nGET\n{target}\n\n".encode()
        signature = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
        said = f"deri-hmac-sha256 id={self._keyring.api_key},ts={stamp},nonce={nonce},sig={signature}"
        return HttpRequest(request_id, "GET", target, (("Authorization", said),), b"", deadline_ns)

    def submitted(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a submission."""
        body = body_of(response)
        error = None if body is None else body.get("error")
        if isinstance(error, dict):
            code = text_of(error.get("code"))
            text = self._keyring.redact(f"{code} {text_of(error.get('message'))}")
            return refused(text) if code in self.REFUSALS else unknown(text)
        row = None if body is None else body.get("result")
        return self._row(ask, row) if isinstance(row, dict) else unknown(f"HTTP {response.status}")

    def queried(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a query: that ours is not listed means something only where the list is whole."""
        body = body_of(response)
        result = None if body is None else body.get("result")
        rows = result.get("data") if isinstance(result, dict) else None
        if not response.is_success or not isinstance(rows, list):
            return unknown(f"HTTP {response.status}")
        for row in rows:
            if isinstance(row, dict) and row.get("nonce") == ask.client_id:
                return self._row(ask, row)
        stamps = [row.get("created_timestamp") for row in rows if isinstance(row, dict)]
        oldest_ms = min((stamp for stamp in stamps if isinstance(stamp, int)), default=0)
        if len(rows) >= LISTED and oldest_ms * NS_PER_MS >= ask.begun_ns:
            return unknown("more transfers since than the venue lists")
        return Outcome(Ending.NOT_FOUND)

    def _row(self, ask: TransferAsk, row: dict[str, Any]) -> Outcome:
        if row.get("nonce") not in (None, ask.client_id):
            return unknown("an answer about another transfer")
        return ended(ask, self.WORDS, row.get("state"), row.get("amount"), row.get("id"))


class BinanceTransfers:
    """Wallets are `EMAIL/TYPE` of a sub-account or `/TYPE` of the master: SPOT, USDT_FUTURE, COIN_FUTURE, MARGIN."""

    PATH: Final = "/v1/sub-account/universalTransfer"
    TYPES: Final = frozenset({"SPOT", "USDT_FUTURE", "COIN_FUTURE", "MARGIN"})
    REFUSALS: Final = frozenset(
        {"-1002", "-1003", "-1021", "-1022", "-1100", "-1102", "-2014", "-2015", "-9000", "-8012"}
    )
    WORDS: Final = {
        "SUCCESS": Ending.SETTLED,
        "PROCESS": Ending.PENDING,
        "PENDING": Ending.PENDING,
        "FAILURE": Ending.REFUSED,
        "FAILED": Ending.REFUSED,
    }

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._requests = BinanceRequests(keyring, ClockOffset(), RECV_WINDOW_MS, "/sapi")

    def __repr__(self) -> str:
        return "BinanceTransfers()"

    @classmethod
    def wallet_fault(cls, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets."""
        is_good = all(
            wallet.rpartition("/")[2] in cls.TYPES and "/" in wallet and "&" not in wallet
            for wallet in (source, target)
        )
        return None if is_good and source != target else "wallets at Binance are EMAIL/TYPE, or /TYPE of the master"

    def submit(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask for a transfer."""
        params: dict[str, str | int] = {}
        for side, wallet in (("from", ask.source_wallet), ("to", ask.target_wallet)):
            email, _, kind = wallet.rpartition("/")
            if email:
                params[f"{side}Email"] = email.replace("@", "%40")
            params[f"{side}AccountType"] = kind
        params |= {"clientTranId": ask.client_id, "asset": ask.asset, "amount": ask.amount}
        return self._requests.rest(request_id, "POST", self.PATH, params, now_ns, deadline_ns, is_signed=True)

    def query(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask how a transfer stands; the venue's clock may be behind ours, so it is asked for from a day before on."""
        since_ms = ask.begun_ns // NS_PER_MS - MS_PER_DAY
        params: dict[str, str | int] = {"clientTranId": ask.client_id, "startTime": since_ms, "limit": LISTED}
        return self._requests.rest(request_id, "GET", self.PATH, params, now_ns, deadline_ns, is_signed=True)

    def submitted(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a submission: taken is not done."""
        body = body_of(response)
        if body is None:
            return unknown(f"HTTP {response.status}")
        if "code" in body:
            code = text_of(body.get("code"))
            text = self._keyring.redact(f"{code} {text_of(body.get('msg'))}")
            return refused(text) if code in self.REFUSALS else unknown(text)
        if body.get("clientTranId") == ask.client_id and text_of(body.get("tranId")):
            return Outcome(Ending.PENDING, "taken", 0, text_of(body["tranId"])[:64])
        return unknown(f"HTTP {response.status}")

    def queried(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a query."""
        body = body_of(response)
        rows = None if body is None else body.get("result")
        if not response.is_success or not isinstance(rows, list):
            return unknown(f"HTTP {response.status}")
        for row in rows:
            if isinstance(row, dict) and row.get("clientTranId") == ask.client_id:
                return ended(ask, self.WORDS, row.get("status"), row.get("amount"), row.get("tranId"))
        return Outcome(Ending.NOT_FOUND)


class OkxTransfers:
    """Wallets are `funding` or `trading`, of a sub-account with its name before: `NAME/trading`."""

    PATH: Final = "/api/v5/asset/transfer"
    CODES: Final = {"funding": "6", "trading": "18"}
    REFUSALS: Final = frozenset(
        {"50002", "50011", "50014", "50102", "50103", "50104", "50105", "50106", "50107", "50111", "50112", "50113",
         "51000", "58001", "58002", "58003", "58004", "58005", "58006", "58110", "58350"}
    )  # fmt: skip
    WORDS: Final = {"success": Ending.SETTLED, "pending": Ending.PENDING, "failed": Ending.REFUSED}

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._clock = ClockOffset()

    def __repr__(self) -> str:
        return "OkxTransfers()"

    @classmethod
    def wallet_fault(cls, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets."""
        subs = [wallet.rpartition("/")[0] for wallet in (source, target)]
        if any(wallet.rpartition("/")[2] not in cls.CODES for wallet in (source, target)) or source == target:
            return "wallets at OKX are funding or trading, with the name of a sub-account before: NAME/trading"
        if all(subs) and subs[0] != subs[1]:
            return "between two sub-accounts of OKX a transfer goes by the main account"
        return None

    def submit(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask for a transfer: type 0 within one account, 1 to a sub-account, 2 from one."""
        source, target = ask.source_wallet.rpartition("/"), ask.target_wallet.rpartition("/")
        params = {"ccy": ask.asset, "amt": ask.amount, "from": self.CODES[source[2]], "to": self.CODES[target[2]]}
        kind = "0" if source[0] == target[0] else "1" if target[0] else "2"
        params |= {"type": kind, "clientId": ask.client_id}
        if kind != "0":
            params["subAcct"] = target[0] or source[0]
        body, times = orjson.dumps(params), (now_ns, deadline_ns)
        return okx_request(self._keyring, self._clock, request_id, "POST", self.PATH, body, times)

    def query(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask how a transfer stands."""
        source, target = ask.source_wallet.rpartition("/")[0], ask.target_wallet.rpartition("/")[0]
        kind = "0" if source == target else "1" if target else "2"
        path, times = f"{self.PATH}-state?clientId={ask.client_id}&type={kind}", (now_ns, deadline_ns)
        return okx_request(self._keyring, self._clock, request_id, "GET", path, b"", times)

    def submitted(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a submission: taken is not done."""
        body = body_of(response)
        if body is None:
            return unknown(f"HTTP {response.status}")
        code, row = text_of(body.get("code")), _first(body.get("data"))
        if code != "0":
            text = self._keyring.redact(f"{code} {text_of(body.get('msg'))}")
            return refused(text) if code in self.REFUSALS else unknown(text)
        if row is not None and row.get("clientId") == ask.client_id and text_of(row.get("transId")):
            return Outcome(Ending.PENDING, "taken", 0, text_of(row["transId"])[:64])
        return unknown(f"HTTP {response.status}")

    def queried(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a query: 58129 is the venue's word for none."""
        body = body_of(response)
        if body is None:
            return unknown(f"HTTP {response.status}")
        code, row = text_of(body.get("code")), _first(body.get("data"))
        if code == "58129" and response.is_success:
            return Outcome(Ending.NOT_FOUND)
        if code != "0" or row is None or row.get("clientId") != ask.client_id:
            return unknown(self._keyring.redact(f"{code} {text_of(body.get('msg'))}"))
        return ended(ask, self.WORDS, row.get("state"), row.get("amt"), row.get("transId"))


class BybitTransfers:
    """Wallets are `TYPE` (FUND, UNIFIED, CONTRACT, SPOT) of one user, or `UID/TYPE` between users."""

    PATH: Final = "/v5/asset/transfer/"
    TYPES: Final = frozenset({"FUND", "UNIFIED", "CONTRACT", "SPOT"})
    REFUSALS: Final = frozenset(
        {"10001", "10002", "10003", "10004", "10005", "10006", "131203", "131204", "131206", "131207", "131208",
         "131210", "131211", "131212"}
    )  # fmt: skip
    WORDS: Final = {"SUCCESS": Ending.SETTLED, "PENDING": Ending.PENDING, "FAILED": Ending.REFUSED}

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._requests = BybitRequests(keyring, ClockOffset(), RECV_WINDOW_MS)

    def __repr__(self) -> str:
        return "BybitTransfers()"

    @classmethod
    def wallet_fault(cls, source: str, target: str) -> str | None:
        """Return why nothing can move between these wallets."""
        parts = [wallet.rpartition("/") for wallet in (source, target)]
        is_good = all(kind in cls.TYPES and (not uid or uid.isdigit()) for uid, _, kind in parts)
        if not is_good or source == target or bool(parts[0][0]) != bool(parts[1][0]):
            return "wallets at Bybit are TYPE, or both UID/TYPE: FUND, UNIFIED, CONTRACT, SPOT"
        return None

    def submit(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask for a transfer: within one user, or between users of one main account."""
        params = {"transferId": ask.uuid, "coin": ask.asset, "amount": ask.amount}
        for side, wallet in (("from", ask.source_wallet), ("to", ask.target_wallet)):
            uid, _, kind = wallet.rpartition("/")
            if uid:
                params[f"{side}MemberId"] = uid
            params[f"{side}AccountType"] = kind
        path = f"{self.PATH}{'universal' if '/' in ask.source_wallet else 'inter'}-transfer"
        return self._requests.rest(request_id, "POST", path, params, now_ns, deadline_ns)

    def query(self, request_id: int, ask: TransferAsk, now_ns: int, deadline_ns: int) -> HttpRequest:
        """Ask how a transfer stands."""
        path = f"{self.PATH}query-{'universal' if '/' in ask.source_wallet else 'inter'}-transfer-list"
        return self._requests.rest(request_id, "GET", path, {"transferId": ask.uuid}, now_ns, deadline_ns)

    def submitted(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a submission, which says how it stands."""
        body = body_of(response)
        if body is None:
            return unknown(f"HTTP {response.status}")
        code, row = text_of(body.get("retCode")), body.get("result")
        if code != "0":
            text = self._keyring.redact(f"{code} {text_of(body.get('retMsg'))}")
            return refused(text) if code in self.REFUSALS else unknown(text)
        if isinstance(row, dict) and row.get("transferId") == ask.uuid:
            return ended(ask, self.WORDS, row.get("status"), ask.amount, ask.uuid)
        return unknown(f"HTTP {response.status}")

    def queried(self, ask: TransferAsk, response: HttpResponse) -> Outcome:
        """Read the answer to a query."""
        body = body_of(response)
        result = None if body is None else body.get("result")
        rows = result.get("list") if isinstance(result, dict) else None
        if not response.is_success or body is None or body.get("retCode") != 0 or not isinstance(rows, list):
            return unknown(f"HTTP {response.status}")
        for row in rows:
            if isinstance(row, dict) and row.get("transferId") == ask.uuid:
                return ended(ask, self.WORDS, row.get("status"), row.get("amount"), ask.uuid)
        return Outcome(Ending.NOT_FOUND)


def _first(rows: object) -> dict[str, Any] | None:
    row = rows[0] if isinstance(rows, list) and rows else None
    return row if isinstance(row, dict) else None


# By the kind of a venue.
CODECS: Final[dict[str, type[TransferCodec]]] = {
    "deribit": DeribitTransfers,
    "binance": BinanceTransfers,
    "okx": OkxTransfers,
    "bybit": BybitTransfers,
}

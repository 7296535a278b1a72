"""Who asks, whether he may, and how often: what every request passes before anything is looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.admin.tokens import MAX_TOKEN_BYTES, Person, Role, Tokens, TokensError
from risk.rate import RateLimit

# Requests without a good token, of one address.
STRANGERS_PER_SECOND: Final = 5
STRANGERS_BURST: Final = 20
# Addresses and tokens whose rate is known; the one that asked longest ago is forgotten.
RATES_KEPT: Final = 10_000

_bearer = HTTPBearer(auto_error=False, description="A token that `margingate admin-token` made.")


class Access:
    """Tokens and rates of one process."""

    def __init__(self, tokens: Tokens, per_second: int, burst: int, now_ns: Callable[[], int]) -> None:
        self._tokens = tokens
        self._rate = (per_second, burst)
        self._now_ns = now_ns
        self._rates: OrderedDict[object, RateLimit] = OrderedDict()

    def person(self, token: str | None, address: str) -> Person:
        """Return who asks. Raises HTTPException: 401 for nobody known, 429 for too often, 503 without tokens."""
        person = None
        if token is not None and len(token) <= MAX_TOKEN_BYTES:
            try:
                person = self._tokens.person(token)
            except TokensError:
                raise HTTPException(503, "the file of tokens can not be used: see the log") from None
        if person is None:
            self.admit(("stranger", address), STRANGERS_PER_SECOND, STRANGERS_BURST)
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
        self.admit(person.token_hash, *self._rate)
        return msgspec.structs.replace(person, token=token)

    def admit(self, who: object, per_second: int, burst: int) -> None:
        """Count a request. Raises HTTPException 429 where there were too many."""
        rate = self._rates.pop(who, None) or RateLimit(per_second, burst)
        self._rates[who] = rate
        if len(self._rates) > RATES_KEPT:
            self._rates.popitem(last=False)
        if not rate.admit(self._now_ns()):
            raise HTTPException(429, "too many requests", {"Retry-After": "1"})


async def person_of(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Person:
    """Return who asks."""
    access: Access = request.app.state.access
    address = request.client.host if request.client is not None else ""
    return access.person(None if credentials is None else credentials.credentials, address)


async def stranger(request: Request) -> None:
    """Count a request that needs no token."""
    access: Access = request.app.state.access
    address = request.client.host if request.client is not None else ""
    access.admit(("open", address), *access._rate)


def _at_least(role: Role) -> Callable[..., Any]:
    async def allowed(person: Annotated[Person, Depends(person_of)]) -> Person:
        if not person.role.may_act_as(role):
            raise HTTPException(403, f"this takes the role {role}, and yours is {person.role}")
        return person

    return allowed


Viewer = Annotated[Person, Depends(_at_least(Role.VIEWER))]
RiskManager = Annotated[Person, Depends(_at_least(Role.RISK_MANAGER))]
Administrator = Annotated[Person, Depends(_at_least(Role.ADMINISTRATOR))]

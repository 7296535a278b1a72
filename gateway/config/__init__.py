"""The configuration: its schema, its rules, and the reader that tells every problem with its line."""

from gateway.config.admin import Admin
from gateway.config.collateral import Channel, Collateral, Route
from gateway.config.counterparties import Counterparty, Reconciliation
from gateway.config.credentials import (
    Credentials,
    CredentialsError,
    load_channel_credentials,
    load_counterparty_credentials,
    load_credentials,
    load_public_key,
    load_session_credentials,
)
from gateway.config.guards import Adjust, Guard
from gateway.config.hook import Hook, HookClient
from gateway.config.levels import Desk, Firm, House, LevelLimits, Stress, SubAccount, Volume
from gateway.config.loader import ConfigError, load, parse
from gateway.config.margin_calls import MarginCalls, MarginProfile
from gateway.config.parameters import Parameters
from gateway.config.schedules import Schedule
from gateway.config.schema import (
    Account,
    Config,
    Fix,
    Gateway,
    InstrumentLimits,
    Limits,
    Margin,
    Market,
    Monitor,
    Session,
)
from gateway.config.venues import Venue

__all__ = [
    "Account",
    "Adjust",
    "Admin",
    "Channel",
    "Collateral",
    "Config",
    "ConfigError",
    "Counterparty",
    "Credentials",
    "CredentialsError",
    "Desk",
    "Firm",
    "Fix",
    "Gateway",
    "Guard",
    "Hook",
    "HookClient",
    "House",
    "InstrumentLimits",
    "LevelLimits",
    "Limits",
    "Margin",
    "MarginCalls",
    "MarginProfile",
    "Market",
    "Monitor",
    "Parameters",
    "Reconciliation",
    "Route",
    "Schedule",
    "Session",
    "Stress",
    "SubAccount",
    "Venue",
    "Volume",
    "load",
    "load_channel_credentials",
    "load_counterparty_credentials",
    "load_credentials",
    "load_public_key",
    "load_session_credentials",
    "parse",
]

"""The configuration: its schema, its rules, and the reader that tells every problem with its line."""

from gateway.config.admin import Admin
from gateway.config.credentials import (
    Credentials,
    CredentialsError,
    load_credentials,
    load_public_key,
    load_session_credentials,
)
from gateway.config.hook import Hook, HookClient
from gateway.config.loader import ConfigError, load, parse
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
    Schedule,
    Session,
    Venue,
)

__all__ = [
    "Account",
    "Admin",
    "Config",
    "ConfigError",
    "Credentials",
    "CredentialsError",
    "Fix",
    "Gateway",
    "Hook",
    "HookClient",
    "InstrumentLimits",
    "Limits",
    "Margin",
    "Market",
    "Monitor",
    "Schedule",
    "Session",
    "Venue",
    "load",
    "load_credentials",
    "load_public_key",
    "load_session_credentials",
    "parse",
]

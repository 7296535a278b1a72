"""What looks like a secret does not reach whoever reads alerts."""

from __future__ import annotations

import pytest

from gateway.monitor import Monitor
from gateway.redaction import SECRET_TAGS, redacted


@pytest.mark.parametrize("tag", SECRET_TAGS)
@pytest.mark.parametrize("separator", ["\x01", "|", " "])
def test_fields_of_a_message(tag: int, separator: str) -> None:
    text = separator.join(["35=A", "34=1", f"{tag}=canary", "98=0"])
    assert redacted(text) == separator.join(["35=A", "34=1", f"{tag}=<hidden>", "98=0"])


@pytest.mark.parametrize(
    "text",
    [
        "client_secret = canary", 'password: "canary and more"', "access_token=canary", "'signature': 'canary'",
        "Password=canary;", "private_key=canary", "PASSPHRASE = canary", "api-secret:canary", "new_password='canary'",
    ],
)  # fmt: skip
def test_what_is_named_like_a_secret(text: str) -> None:
    assert "canary" not in redacted(text) and "<hidden>" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "fix: logon of ALPHA from 192.0.2.1 refused: wrong password; 3 such in all",
        "deribit: 13004 invalid_credentials", "journal: no space left", "limit 1096=5", "order 554 was filled",
    ],
)  # fmt: skip
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


def test_alerts_and_reasons_pass_through_it() -> None:
    monitor = Monitor()
    monitor.alert("venue: 554=canary")
    monitor.journal_failed("secret = canary")
    monitor.session_closed("ALPHA", "554=canary")
    monitor.logon_refused("ALPHA", "token=canary", "192.0.2.1", 0)
    assert "canary" not in str(monitor.alerts) + monitor.last_session_closed and len(monitor.alerts) == 3


def test_what_strangers_cause_is_told_once_in_a_while_and_counted_always() -> None:
    monitor = Monitor()
    monitor.alert("important")
    for second in range(100):
        monitor.logon_refused("", "no such session", "192.0.2.1", second * 10**9)
        monitor.connection_refused("no TLS handshake", "192.0.2.1", second * 10**9)
    assert monitor.alerts[0] == "important" and len(monitor.alerts) == 21
    snapshot = monitor.snapshot()
    assert snapshot["logons_refused"] == {"no such session": 100}
    assert snapshot["connections_refused"] == {"no TLS handshake": 100}
    assert monitor.alerts[-1].endswith("91 such in all")
    monitor.logon_refused("ALPHA", "no such session", "192.0.2.1", 99 * 10**9)  # another session is another cause
    assert "logon of ALPHA" in monitor.alerts[-1]

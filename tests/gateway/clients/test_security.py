"""Security over real sockets on uvloop: TLS and client certificates, each method, replays, secrets in no output."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fixtures.fix_conversation import FixConversation, timestamp
from fixtures.venues.server import serve
from gateway import cli
from gateway.clients.addresses import networks_of
from gateway.clients.authentication import Authenticator, SessionRules, Threads
from gateway.clients.front_door import FrontDoor
from gateway.clients.passwords import PasswordHash, hashed
from gateway.clock import now_ns
from protocols.fix.authentication import hmac_fields, password_fields
from tests.gateway.certificates import Authority, fingerprint
from tests.gateway.live import (
    ENVIRONMENT,
    SECRET,
    TcpClient,
    config_text,
    key_pair,
    live,
    make_venue,
    run,
    signed,
    until,
)
from tests.gateway.rig import Rig
from tests.gateway.test_app import Process
from tests.gateway.test_fix_server import serving
from tests.ports import free_port

PASSWORD = "canary-9f3a-pass-word"
LINE = hashed(PASSWORD)
MAC_SECRET = "canary-5b7e-mac-secret-0123456789abcdef"


def mac(secret: str = MAC_SECRET, key_id: str = "BETA-key") -> Any:
    now = time.time_ns()
    return hmac_fields(key_id.encode(), secret.encode(), now, b"%016d" % (now % 10**16))


async def refused(client: TcpClient, credentials: Any = ()) -> str:
    """Log on in vain; return the Text(58) that came."""
    await client.log_on(reads=False, credentials=credentials)
    return await told(client)


async def told(client: TcpClient) -> str:
    """Return the Text(58) of all that comes until the end: a Logout, or nothing."""
    data = b""
    with contextlib.suppress(OSError):
        data = await client.reader.read()
    assert data.count(b"8=FIX") == data.count(b"\x0135=5\x01")
    match = re.search(rb"\x0158=([^\x01]*)", data)
    return match[1].decode() if match else ""


def test_certificates_and_passwords_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session takes its own certificate and its own password; nothing else of anybody's will do."""
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")
    contexts = {name: authority.trusted(authority.issue(name, "Desk")) for name in ("ALPHA", "BETA")}
    files = f'tls_certificate_file = "{chain}"\ntls_key_file = "{key}"\ntls_client_ca_file = "{authority.file}"'
    session = """authentication = "password"
credentials_env = "LIVE_{name}"
certificate_subject = "CN={name},O=Desk"
allowed_addresses = ["127.0.0.0/8"]"""
    for name in contexts:
        monkeypatch.setenv(f"LIVE_{name}_USERNAME", name.lower())
        monkeypatch.setenv(f"LIVE_{name}_PASSWORD_HASH", LINE)

    async def scenario() -> None:
        fix = f'listen_host = "0.0.0.0"\n{files}'
        async with live(tmp_path, monkeypatch, extra_fix=fix, extra_session=session, waits=False) as gateway:
            refusals = gateway.app.core.monitor.logons_refused

            async def connected(comp_id: str, certificate: str | None) -> TcpClient:
                tls = contexts[certificate] if certificate else authority.trusted()
                return await TcpClient(comp_id).connect(gateway.port, tls=tls)

            good = password_fields(b"alpha", PASSWORD.encode())
            assert await refused(await connected("ALPHA", "BETA"), good) == ""
            assert await refused(await connected("ALPHA", None), good) == ""
            for username in (b"alpha", b"beta"):
                guess = password_fields(username, b"guess-guess-guess")
                assert await refused(await connected("ALPHA", "ALPHA"), guess) == "Logon refused"
            alpha = await (await connected("ALPHA", "ALPHA")).log_on(credentials=good)
            beta = await connected("BETA", "BETA")
            await beta.log_on(credentials=password_fields(b"beta", PASSWORD.encode()))
            alpha.order()
            await alpha.until(lambda: alpha.told)
            assert dict(refusals) == {
                "client certificate of another subject": 1, "no client certificate": 1, "wrong password": 1,
                "another user": 1,
            }  # fmt: skip
            assert gateway.app.snapshot()["sessions"] == ["ALPHA", "BETA"]

    run(scenario())


def test_a_fingerprint_is_as_good_and_a_certificate_can_be_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")
    mine, other = authority.issue("oms"), authority.issue("other")
    fix = f"""tls_certificate_file = "{chain}"
tls_key_file = "{key}"
tls_client_ca_file = "{authority.file}"
tls_requires_client_certificate = true"""

    async def scenario() -> None:
        session = f'certificate_sha256 = "{fingerprint(mine[0])}"'
        async with live(tmp_path, monkeypatch, extra_fix=fix, extra_session=session, waits=False) as gateway:
            client = await TcpClient().connect(gateway.port, tls=authority.trusted(mine))
            await client.log_on()
            assert await refused(await TcpClient("BETA").connect(gateway.port, tls=authority.trusted(other))) == ""
            bare = TcpClient("BETA")
            with contextlib.suppress(ssl.SSLError, ConnectionError):  # TLS 1.3: a client learns it when it reads
                await bare.connect(gateway.port, tls=authority.trusted())
                await refused(bare)
            await until(lambda: gateway.app.core.monitor.connections_refused == {"no TLS handshake": 1})
            assert client.fix.is_logged_on

    run(scenario())


def test_signed_logons_are_good_once_over_a_restart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public_key, credentials = key_pair()
    session = f'authentication = "ed25519"\npublic_key = "{public_key}"'
    now = now_ns()  # one time: SendingTime(52) is signed
    conversation = FixConversation("ALPHA", "MARGINGATE", 30, now)
    conversation.send("A", [(98, "0"), (108, "30"), *signed(conversation, credentials, now)], now)
    captured = conversation.data_to_send()

    async def sent(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(captured)
        answer = await reader.readuntil(b"\x0110=")
        writer.transport.abort()
        return answer

    async def scenario() -> None:
        answers = []
        for _ in range(2):
            async with live(tmp_path, monkeypatch, extra_session=session, waits=False) as gateway:
                monitor = gateway.app.core.monitor
                for _ in range(2):
                    answers.append(await sent(gateway.port))
                    await until(lambda gateway=gateway: not gateway.app.server.connections)
                if len(answers) == 2:
                    assert monitor.logons_refused == {"replayed": 1}
                else:
                    assert monitor.logons_refused == {"might be replayed: signed before the restart": 2}
        assert [b"\x0135=A\x01" in answer for answer in answers] == [True, False, False, False]
        assert all(b"58=Logon refused" in answer for answer in answers[1:])

    run(scenario())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, now_ns=now_ns(), segment_bytes=4 << 20)
    yield rig
    rig.journal.close()


def test_an_address_that_is_not_allowed_gets_nothing(rig: Rig) -> None:
    async def scenario() -> None:
        door = FrontDoor(networks=networks_of(["192.0.2.0/24"]))
        async with serving(rig, door=door) as (server, port):
            client = await TcpClient().connect(port)
            assert await refused(client) == ""
            assert not server.connections and rig.monitor.connections_refused == {"address not allowed": 1}
            assert rig.core.reports.sessions["ALPHA"].next_out == 1

    run(scenario())


def test_hashes_run_beside_the_loop(rig: Rig) -> None:
    """Strangers' passwords keep the thread busy; whoever is in goes on, and each connection ends as it should."""

    async def scenario() -> None:
        rules = {name: SessionRules(method=PasswordHash(name.encode(), LINE)) for name in ("ALPHA", "BETA")}
        threads, may_go_on = Threads(), threading.Event()
        authenticator = Authenticator(rules, rig.monitor, threads)
        door = FrontDoor(authenticator=authenticator)
        async with serving(rig, door=door, max_connections=64) as (server, port):
            client = await TcpClient().connect(port)
            await client.log_on(credentials=password_fields(b"ALPHA", PASSWORD.encode()))
            threads.submit(lambda: may_go_on.wait() and None, lambda future: None)  # all that comes next waits for it
            strangers = [await TcpClient("BETA").connect(port) for _ in range(3)]
            for stranger in strangers:
                await stranger.log_on(reads=False, credentials=password_fields(b"BETA", b"guess-guess-guess"))
            await until(lambda: sum(connection.is_asked_about for connection in server.connections) == 3)
            client.order(symbol="DOGE")
            await client.until(lambda: client.told)  # while they wait
            leaver = strangers.pop()
            leaver.abort()
            await until(lambda: sum(connection.is_asked_about for connection in server.connections) == 2)
            may_go_on.set()
            for stranger in strangers:
                assert await told(stranger) == "Logon refused"
            await until(lambda: len(server.connections) == 1)
            assert client.fix.is_logged_on and not door.lobby
        door.close()

    run(scenario())


# --- fault 50: a secret in any error path -----------------------------------------------------------------------

CANARIES = (PASSWORD, MAC_SECRET, SECRET, "canary-d41c-wrong-password", "canary-77aa-new-password", "canary-e0e1-short")


def forms(secret: str) -> list[bytes]:
    """A secret in clear, in hex, and in base64 wherever in a text it begins."""
    data = secret.encode()
    shifted = [b64encode(bytes(shift) + data)[4 if shift else 0 : -4] for shift in range(3)]
    return [data, data.hex().encode(), data.hex().upper().encode(), *shifted]


def found(outputs: dict[str, bytes]) -> list[tuple[str, bytes]]:
    searched = [form for secret in CANARIES for form in forms(secret)]
    return [(name, form) for name, data in outputs.items() for form in searched if form in data]


def test_the_search_finds_what_it_looks_for() -> None:
    for secret in CANARIES:
        encoded = [b64encode(prefix + secret.encode()) for prefix in (b"", b"key:", b"keys:")]
        for form in (secret.encode(), secret.encode().hex().encode(), *encoded):
            assert found({"x": b"prefix " + form + b" suffix"}), (secret, form)
    assert not found({"x": b"no canaries here"})


def commands(directory: Path, good: str) -> dict[str, bytes]:
    """What the command says to configurations with secrets in wrong places, and to passwords."""
    head = 'target_comp_id = "ALPHA"'
    texts = {
        "unknown key": good.replace(head, f'{head}\npassword = "{PASSWORD}"'),
        "hash in the file": good.replace(head, f'{head}\npassword_hash = "{PASSWORD}"'),
        "as authentication": good.replace('"LIVE_ALPHA"', f'["{PASSWORD}"]'),
        "in an address": good.replace("ws://", f"ws://user:{PASSWORD}@"),
        "no TOML": good + f'\nsecret = "{MAC_SECRET}',
    }
    outputs = {}
    for name, text in texts.items():
        path = directory / "broken.toml"
        path.write_text(text)
        outputs[name] = ran(["check", str(path)], is_good=False)
    credentials = directory / "credentials.toml"
    credentials.write_text(f'username = "u"\npassword = "{PASSWORD}"\n')
    credentials.chmod(0o600)
    path.write_text(good.replace('credentials_env = "LIVE_ALPHA"', f'credentials_file = "{credentials}"'))
    outputs["credentials of another form"] = ran(["run", str(path)], is_good=False)
    outputs["password"] = ran(["password"], PASSWORD, is_good=True)
    outputs["password too long"] = ran(["password"], PASSWORD * 10, is_good=False)
    return outputs


def ran(arguments: list[str], words: str = "", *, is_good: bool) -> bytes:
    result = CliRunner().invoke(cli.app, arguments, input=words)
    assert (result.exit_code == 0) == is_good, result.output
    return (result.stdout + result.stderr + repr(result.exception)).encode()


LOGONS = (
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98=0|108=30|553=alpha|554={PASSWORD}|554={PASSWORD}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98=0|108=30|553=alpha|554={PASSWORD}|9999={PASSWORD}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98={PASSWORD}|108=30|553=alpha|554={PASSWORD}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|553=alpha|554={PASSWORD}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98=0|108=30|553=alpha|554={PASSWORD}|925={CANARIES[4]}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98=0|108=30|553=alpha|554={CANARIES[3]}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|98=0|108=30|553={PASSWORD}|554=alpha",
    f"35=A|34=1|49={PASSWORD}|56=MARGINGATE|52=T|98=0|108=30|554={PASSWORD}",
    f"35={PASSWORD}|34=1|49=ALPHA|56=MARGINGATE|52=T|554={PASSWORD}",
    f"35=A|34=1|49=ALPHA|56=MARGINGATE|52=T|95=999|96={PASSWORD}|98=0|108=30|554={PASSWORD}",
    f"35=A|34={PASSWORD}|49=ALPHA|56=MARGINGATE|52={PASSWORD}|98=0|108=30|554={PASSWORD}",
)


def wire(fields: str) -> bytes:
    body = fields.replace("52=T", f"52={timestamp(time.time_ns())}").replace("|", "\x01").encode() + b"\x01"
    message = b"8=FIX.4.4\x019=%d\x01%b" % (len(body), body)
    return message + b"10=%03d\x01" % (sum(message) & 255)


async def heard(port: int, data: bytes, tls: ssl.SSLContext | None) -> bytes:
    """What a stranger gets for its bytes, until it is cut; no more than the time to Logon."""
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    writer.write(data)
    answer = b""
    with contextlib.suppress(OSError):
        answer = await reader.read()
    writer.transport.abort()
    return answer


async def provoked(port: int, tls: ssl.SSLContext) -> dict[str, bytes]:
    """Everything that a client or stranger can do wrong with a secret in hand; what came back."""
    outputs = {}
    strangers = {f"logon {number}": wire(text) for number, text in enumerate(LOGONS)}
    strangers["garbled"] = wire(LOGONS[0])[:-4] + b"000\x01" + PASSWORD.encode() * 4000
    # All at one time: some of them are not answered before their time to Logon is over.
    answers = await asyncio.gather(*(heard(port, data, tls) for data in strangers.values()))
    outputs |= dict(zip(strangers, answers, strict=True))
    outputs["in clear"] = await heard(port, wire(LOGONS[0]), None)
    await refused(await TcpClient("BETA").connect(port, tls=tls), mac(secret=CANARIES[3] * 2))
    beta = FixConversation("BETA", "MARGINGATE", 30, time.time_ns())
    beta.send("A", [(98, "0"), (108, "30"), *signed(beta, mac(), time.time_ns())], time.time_ns())
    fields = [(553, "beta"), (554, PASSWORD), (925, CANARIES[4])]
    for msg_type, body in (
        ("BE", [(923, "u"), (924, "3")]), ("R", [(131, "q")]), ("D", [(11, "o")]), ("0", []), ("ZZ", []), ("5", []),
        ("A", [(98, "0"), (108, "30")]), (PASSWORD, []),
    ):  # fmt: skip
        beta.send(msg_type, [*body, *fields], time.time_ns())
    beta.send("5", [(58, PASSWORD)], time.time_ns())
    outputs["session"] = await heard(port, beta.data_to_send(), tls)
    return outputs


def test_no_secret_comes_out_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway in a process of its own, with secrets that can be recognised, through every error that we know of."""
    authority = Authority(tmp_path)
    chain, key = authority.issue("localhost")
    secrets = {
        "LIVE_ALPHA_USERNAME": "alpha", "LIVE_ALPHA_PASSWORD_HASH": LINE,
        "LIVE_BETA_KEY_ID": "BETA-key", "LIVE_BETA_SECRET": MAC_SECRET,
    }  # fmt: skip
    for name, value in (ENVIRONMENT | secrets).items():
        monkeypatch.setenv(name, value)
    fix = f'tls_certificate_file = "{chain}"\ntls_key_file = "{key}"\nlogon_timeout_s = 5'
    session = 'authentication = "password"\ncredentials_env = "LIVE_{name}"'
    outputs: dict[str, bytes] = {}
    told: dict[str, Any] = {}

    async def scenario() -> None:
        async with serve(make_venue(credentials={"margingate": "another"}), compression=None) as url:
            port = free_port()
            text = config_text(url, port, fix, session)
            for_beta = 'credentials_env = "LIVE_BETA"'
            text = text.replace(f'"password"\n{for_beta}', f'"hmac"\n{for_beta}')
            path = tmp_path / "gateway.toml"
            path.write_text(text + "[monitor]\nreport_interval_ms = 100\n")
            async with Process(path) as process:
                await process.status(lambda snapshot: True)
                outputs.update(await provoked(port, authority.trusted()))
                told.update(await process.status(lambda snapshot: snapshot["logons_refused"].get("bad signature")))
                process.child.send_signal(signal.SIGTERM)
                outputs["stdout"], outputs["stderr"] = await process.child.communicate()

    run(scenario())
    outputs |= commands(tmp_path, (tmp_path / "gateway.toml").read_text())
    outputs["status"] = str(told).encode()
    outputs |= {file.name: file.read_bytes() for file in (tmp_path / "journal").iterdir()}
    # It must have come to what it was about.
    assert set(told["logons_refused"]) >= {"wrong password", "another user", "bad signature", "no such session"}
    assert told["connections_refused"].get("no TLS handshake") and told["alerts"] and outputs["stdout"]
    assert b"58=Logon refused" in outputs["logon 5"] and b"$argon2id$" in outputs["password"]
    for msg_type in (b"A", b"j", b"3", b"5"):
        assert b"\x0135=%b\x01" % msg_type in outputs["session"], msg_type
    assert outputs["00000001.mgj"].count(b"BETA") > 2
    assert found(outputs) == []
    key_text = key.read_bytes().splitlines()[1]
    assert not [name for name, data in outputs.items() if key_text in data]

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, load, parse, pricing_defaults
from gateway.config import reference as config_reference
from gateway.config import schema as config_schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "fixtures" / "example.toml"
DOCUMENT = ROOT / "docs" / "configuration.md"

# The line numbers of this text are in the cases below.
MINIMAL = """\
[gateway]
name = "g"
journal_directory = "j"
[fix]
listen_port = 9878
sender_comp_id = "US"
[[fix.session]]
target_comp_id = "THEM"
accounts = ["A"]
[[account]]
name = "A"
[account.limits]
max_order_notional_usd = 1000
[[account.limits.instrument]]
symbol = "BTC-PERPETUAL"
max_order_quantity = 10
max_position_quantity = 100
[[venue]]
name = "V"
kind = "deribit"
url = "wss://venue.example/ws"
currencies = ["BTC"]
instruments = ["BTC-*"]
credentials_env = "V"
"""


def problems(text: str, directory: Path = Path("conf")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, directory / "g.toml")
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{directory / 'g.toml'}:") for line in lines)
    return [line.removeprefix(f"{directory / 'g.toml'}:") for line in lines]


def replaced(old: str, new: str) -> str:
    assert MINIMAL.count(old) == 1, old
    return MINIMAL.replace(old, new)


# --- what is accepted ---------------------------------------------------------------------------------------------


def test_the_example_is_accepted_and_complete() -> None:
    config = load(EXAMPLE)
    assert config.fix.session[0].accounts == ("ALPHA", "BETA")
    assert config.account[0].deposits == {"BTC": Decimal(10), "USDC": Decimal(1000000)}
    assert config.gateway.journal_directory == EXAMPLE.parent / "../run/journal"
    text = EXAMPLE.read_text()
    optional = {"tls_certificate_file", "tls_key_file", "credentials_file", "ca_file"}
    optional |= {"history_file", "leverage"}
    for key in re.findall(r"^\| `(\w+)` \|", config_reference.reference(), re.MULTILINE):
        assert key in text or key in optional, key


def test_the_example_repeats_the_defaults_that_it_shows() -> None:
    shown, silent = load(EXAMPLE), parse(MINIMAL, EXAMPLE)
    assert shown.market == silent.market
    assert shown.margin == silent.margin
    assert shown.monitor == silent.monitor


def test_defaults() -> None:
    config = parse(MINIMAL, Path("conf/g.toml"))
    assert config.gateway.journal_directory == Path("conf/j")
    assert config.gateway.journal_durability == "mmap"
    assert (config.fix.listen_host, config.fix.heart_bt_int_s) == ("127.0.0.1", 30)
    assert config.fix.session[0].cancel_on_disconnect
    assert not config.fix.session[0].reset_on_logon
    assert (config.account[0].state, config.account[0].currency, config.account[0].deposits) == ("trading", "USD", {})
    assert config.margin.spot_moves[0] == -0.18
    assert config.venue[0].credentials_file is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"0.05"', "0.05"),
        ("0.05", "0.05"),
        ("0.1", "0.1"),
        ("1e-2", "0.01"),
        ('"0.000000000000000001"', "1e-18"),
    ],
)
def test_decimals_are_exact_as_written(written: str, value: str) -> None:
    config = parse(MINIMAL + f"[market]\ncollar_fraction = {written}\n", Path("g.toml"))
    assert config.market.collar_fraction == Decimal(value)


def test_a_config_is_frozen_and_knows_no_other_fields() -> None:
    config = parse(MINIMAL, Path("g.toml"))
    with pytest.raises(AttributeError):
        config.gateway.name = "other"  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"report_interval_ms": 1000, "x": 1}, config_schema.Monitor)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:9001/ws", "ws://localhost/", "ws://[::1]:1/", "wss://venue.example:443/a"]
)
def test_venue_addresses_that_are_accepted(url: str) -> None:
    assert parse(replaced("wss://venue.example/ws", url), Path("g.toml")).venue[0].url == url


def test_carriage_returns_do_no_harm() -> None:
    assert parse(MINIMAL.replace("\n", "\r\n"), Path("g.toml")) == parse(MINIMAL, Path("g.toml"))


@pytest.mark.parametrize(
    ("symbol", "limit"), [("BTC-PERPETUAL", 1_000_000), ("BTC-27MAR26-90000-C", 25), ("ETH-PERPETUAL", None)]
)
def test_the_first_limit_that_fits_decides(symbol: str, limit: int | None) -> None:
    found = load(EXAMPLE).account[0].limits.for_symbol(symbol)
    assert (found and found.max_order_quantity) == limit


# --- what is refused ----------------------------------------------------------------------------------------------

PORT = "must be a whole number from 1 to 65535, not"
GRID = "must be a list, each element a number above -1 and at most 100, with at least one element, "
AMOUNT = 'must be a decimal number, as "0.05" or 0.05, above 0, not'
ONE_CREDENTIAL = "[[venue]] credentials_file: give either credentials_file or credentials_env: one of the two"
NO_CREDENTIALS = "credentials are never written in this file"

REFUSED = [
    ("listen_port = 9878", "listen_port = 0", f"5: [fix] listen_port: {PORT} 0"),
    ("listen_port = 9878", "listen_port = 65536", f"5: [fix] listen_port: {PORT} 65536"),
    ("listen_port = 9878", "listen_port = -1", f"5: [fix] listen_port: {PORT} -1"),
    ("listen_port = 9878", "listen_port = true", f"5: [fix] listen_port: {PORT} true"),
    ("listen_port = 9878", "listen_port = 1.5", f"5: [fix] listen_port: {PORT} 1.5"),
    ("listen_port = 9878", 'listen_port = "80\\n"', f'5: [fix] listen_port: {PORT} "80\\n"'),
    ("listen_port = 9878", "listen_port = {}", f"5: [fix] listen_port: {PORT} a table"),
    ("listen_port = 9878", "", "4: [fix] listen_port: is missing; it must be a whole number from 1 to 65535"),
    ("listen_port = 9878", "listen_prt = 9878", "5: [fix] listen_prt: unknown key; did you mean listen_port?"),
    ("listen_port = 9878", "zz = 1\nlisten_port = 1", "5: [fix] zz: unknown key; known here: listen_port, sender_"),
    ("listen_port = 9878", "listen_port = 1\nheart_bt_int_s = 0", "6: [fix] heart_bt_int_s: must be a whole number"),
    ("listen_port = 9878", "listen_port = 1\nlisten_host = '0.0.0.0'", "6: [fix] listen_host: 0.0.0.0 can be reached"),
    ("listen_port = 9878", "listen_port = 1\nlisten_host = 'x.y'", "6: [fix] listen_host: must be a string that is"),
    ("listen_port = 9878", "listen_port = 1\ntls_key_file = 'k'", "4: [fix] tls_certificate_file: is missing; TLS"),
    ("listen_port = 9878", "listen_port = 1\ntls_certificate_file = 'c'", "4: [fix] tls_key_file: is missing; TLS"),
    ("listen_port = 9878", "listen_port = 1\ntls_certificate_file = 'c'", "6: [fix] tls_certificate_file: there is no"),
    ("listen_port = 9878", "listen_port = 1\ntls_key_file = 'k'", "6: [fix] tls_key_file: conf/k: No such file"),
    ('name = "g"', 'name = ""', "2: [gateway] name: must be a string of 1 to 64 letters"),
    ('name = "g"', 'name = "a b"', "2: [gateway] name: must be a string of 1 to 64 letters, digits"),
    ('journal_directory = "j"', "journal_directory = ''", "3: [gateway] journal_directory: must be a path"),
    (
        'journal_directory = "j"',
        'journal_directory = "j"\njournal_durability = "none"',
        '4: [gateway] journal_durability: must be one of "mmap", "fdatasync", not "none"',
    ),
    ("[gateway]", "[gatewy]", "1: [gateway]: is missing; it must be a table"),
    ("[gateway]", "[gatewy]", "1: [gatewy]: unknown key; did you mean gateway?"),
    ('accounts = ["A"]', "accounts = []", "9: [[fix.session]] accounts: must be a list"),
    ('accounts = ["A"]', 'accounts = ["A", "A"]', "9: [[fix.session]] accounts: must be a list"),
    ('accounts = ["A"]', 'accounts = ["A",\n  "B"]', "10: [[fix.session]] accounts[1]: there is no [[account]]"),
    ('accounts = ["A"]', 'accounts = ["A", 5]', "9: [[fix.session]] accounts[1]: must be a string of"),
    ('accounts = ["A"]', 'accounts = "A"', "9: [[fix.session]] accounts: must be a list"),
    (
        'accounts = ["A"]',
        'accounts = ["A"]\n[[fix.session]]\naccounts = ["A"]\ntarget_comp_id = "THEM"',
        '12: [[fix.session]] target_comp_id: there is another session "THEM" before this one',
    ),
    ('name = "A"', 'name = "A"\ncurrency = "DOGE"', "12: [[account]] currency: must be a string that is one of BTC"),
    ('name = "A"', 'name = "A"\nstate = "open"', '12: [[account]] state: must be one of "trading", "reducing"'),
    ('name = "A"', 'name = "A"\ndeposits = { BTC = "-1" }', f'12: [account.deposits] BTC: {AMOUNT} "-1"'),
    ('name = "A"', 'name = "A"\ndeposits = { BTC = 0 }', f"12: [account.deposits] BTC: {AMOUNT} 0"),
    ('name = "A"', "name = 'A'\ndeposits.DOGE = 1", "12: [account.deposits] DOGE: must be a string that is one of"),
    ('name = "A"', "name = 'A'\ndeposits = 1", "12: [[account]] deposits: must be a table"),
    ("max_order_notional_usd = 1000", "max_order_notional_usd = 0", f"max_order_notional_usd: {AMOUNT} 0"),
    ("max_order_quantity = 10\n", "max_order_quantity = nan\n", f"max_order_quantity: {AMOUNT} NaN"),
    ("max_order_quantity = 10\n", "max_order_quantity = inf\n", f"max_order_quantity: {AMOUNT} Infinity"),
    ("max_order_quantity = 10\n", "max_order_quantity = 1e400\n", f"max_order_quantity: {AMOUNT} 1E+400"),
    ("max_order_quantity = 10\n", "max_order_quantity = 1e-19\n", f"max_order_quantity: {AMOUNT} 1E-19"),
    ("max_order_quantity = 10\n", "max_order_quantity = '1_0'\n", f'max_order_quantity: {AMOUNT} "1_0"'),
    ("max_order_quantity = 10\n", "max_order_quantity = ' 1'\n", f'max_order_quantity: {AMOUNT} " 1"'),
    ("max_order_quantity = 10\n", "max_order_quantity = 1979-05-27\n", f"max_order_quantity: {AMOUNT} 1979-05-27"),
    ("max_order_quantity = 10\n", "max_order_quantity = [1]\n", f"max_order_quantity: {AMOUNT} [1]"),
    ('symbol = "BTC-PERPETUAL"', "", "14: [[account.limits.instrument]] symbol: give either symbol or pattern"),
    ('symbol = "BTC-PERPETUAL"', "symbol = 'B'\npattern = 'B*'", "15: [[account.limits.instrument]] symbol: give"),
    ('symbol = "BTC-PERPETUAL"', "symbol = 'BTC-*'", "15: [[account.limits.instrument]] symbol: must be a string of"),
    (
        "[[venue]]",
        "".join(
            f"[[account.limits.instrument]]\npattern = '{pattern}'\nmax_order_quantity = 1\nmax_position_quantity = 1\n"
            for pattern in ("*", "BTC-*")
        )
        + "[[venue]]",
        "22: [account.limits] instrument[2]: BTC-* comes after *, which fits first",
    ),
    ("[[venue]]", "[[account]]\nname = 'A'\n[[venue]]", '19: [[account]] name: there is another account "A" before'),
    ("[[venue]]", "[[account]]\nname = 'A'\n[[venue]]", "18: [[account]] limits: is missing; it must be a table"),
    ("[[venue]]", "[[venue]]\nname = 'V'\n[[venue]]", '21: [[venue]] name: there is another venue "V" before'),
    (
        'kind = "deribit"',
        'kind = "other"',
        '20: [[venue]] kind: must be one of "deribit", "binance-usdm", "binance-coinm", "okx", "bybit", not "other"',
    ),
    ("wss://venue.example/ws", "ws://venue.example/ws", "21: [[venue]] url: must begin with wss://; ws:// is for"),
    ("wss://venue.example/ws", "https://venue.example/ws", "21: [[venue]] url: must be an address like"),
    ("wss://venue.example/ws", "wss:///ws", "21: [[venue]] url: must be an address like"),
    ("wss://venue.example/ws", "wss://v:99999/", "21: [[venue]] url: must be an address like"),
    ("wss://venue.example/ws", "wss://v/a b", "21: [[venue]] url: must be an address like"),
    ("wss://venue.example/ws", "wss://[v/", "21: [[venue]] url: must be an address like"),
    ("wss://venue.example/ws", "wss://me:hunter2@v/", "21: [[venue]] url: must have no user, password"),
    ("wss://venue.example/ws", "wss://v/?key=hunter2", "21: [[venue]] url: must have no user, password"),
    ('url = "wss://venue.example/ws"\n', "", "18: [[venue]] url: is missing; it must be an address like"),
    (
        'credentials_env = "V"',
        "credentials_env = 'V'\nrest_url = 'https://v'",
        "25: [[venue]] rest_url: is not for deribit",
    ),
    (
        'credentials_env = "V"',
        "credentials_env = 'V'\nself_trade = 'BOTH'",
        "25: [[venue]] self_trade: deribit has no such",
    ),
    (
        'credentials_env = "V"',
        "credentials_env = 'V'\naccounts = ['Z']",
        "25: [[venue]] accounts[0]: there is no [[account]]",
    ),
    (
        'kind = "deribit"',
        "kind = 'okx'\nrest_url = 'wss://v'",
        "21: [[venue]] rest_url: must be an address like https://",
    ),
    ('kind = "deribit"', "kind = 'okx'\nrest_url = 'http://v'", "21: [[venue]] rest_url: must begin with https://"),
    ('kind = "deribit"', "kind = 'okx'\nprivate_url = 'ws://v'", "21: [[venue]] private_url: must begin with wss://"),
    ('kind = "deribit"', "kind = 'okx'\ndead_man_s = 200", "21: [[venue]] dead_man_s: must be from 10 to 120 for okx"),
    (
        'kind = "deribit"',
        "kind = 'okx'\nproducts = ['linear']",
        "21: [[venue]] products[0]: okx has no such product; it",
    ),
    (
        'kind = "deribit"',
        "kind = 'okx'\nbudgets = { weight = 5 }",
        "21: [venue.budgets] weight: okx has no such limit",
    ),
    (
        'kind = "deribit"',
        "kind = 'okx'\nbudgets = { place = 0 }",
        "21: [venue.budgets] place: must be a whole number",
    ),
    (
        'credentials_env = "V"',
        """credentials_env = 'V'
[[venue]]
name = "W"
kind = "deribit"
url = "wss://venue.example/ws"
currencies = ["BTC"]
instruments = ["BTC-*"]
credentials_env = "V"
""",
        "30: [[venue]] instruments[0]: another venue lists the same: give a symbol_suffix",
    ),
    ('credentials_env = "V"', "", f"18: {ONE_CREDENTIAL}"),
    ('credentials_env = "V"', "credentials_env = 'V'\ncredentials_file = 'c'", f"25: {ONE_CREDENTIAL}"),
    ('credentials_env = "V"', "credentials_file = 'c'", "24: [[venue]] credentials_file: conf/c: No such file"),
    ('credentials_env = "V"', "credentials_env = 'hunter2'", "24: [[venue]] credentials_env: must be a string of"),
    ('credentials_env = "V"', "client_secret = 'hunter2'", f"24: [[venue]] client_secret: {NO_CREDENTIALS}"),
    ('credentials_env = "V"', "API-Key = 'hunter2'\npassword = 'hunter2'", f"25: [[venue]] password: {NO_CREDENTIALS}"),
    ('credentials_env = "V"', "credentials = { id = 'hunter2' }", f"24: [[venue]] credentials: {NO_CREDENTIALS}"),
    ('credentials_env = "V"', "credentials_env = 'V'\nca_file = 'ca'", "25: [[venue]] ca_file: there is no file"),
    ('credentials_env = "V"', "credentials_env = 'V'\nheartbeat_s = 0", "25: [[venue]] heartbeat_s: must be a whole"),
    (
        'credentials_env = "V"',
        "credentials_env = 'V'\nreconnect_max_ms = 200",
        "25: [[venue]] reconnect_max_ms: must not be less than reconnect_min_ms, 250, not 200",
    ),
    ('instruments = ["BTC-*"]', "instruments = []", "23: [[venue]] instruments: must be a list"),
    ('currencies = ["BTC"]', "currencies = ['BTC', 'XYZ']", "22: [[venue]] currencies[1]: must be a string that is"),
    ("[[venue]]", "[margin]\nspot_moves = []\n[[venue]]", f"19: [margin] spot_moves: {GRID}"),
    ("[[venue]]", "[margin]\nspot_moves = [-0.1, 0.1]\n[[venue]]", f"19: [margin] spot_moves: {GRID}"),
    ("[[venue]]", "[margin]\nspot_moves = [0, 0.1]\n[[venue]]", f"19: [margin] spot_moves: {GRID}"),
    ("[[venue]]", "[margin]\nspot_moves = [0.1, 0, -0.1]\n[[venue]]", f"19: [margin] spot_moves: {GRID}"),
    ("[[venue]]", "[margin]\nspot_moves = [-1, 0, 1]\n[[venue]]", "19: [margin] spot_moves[0]: must be a number"),
    ("[[venue]]", "[margin]\nvol_moves = [0, nan]\n[[venue]]", "19: [margin] vol_moves[1]: must be a number above -1"),
    ("[[venue]]", "[margin]\nvol_moves = [0, '1']\n[[venue]]", "19: [margin] vol_moves[1]: must be a number above -1"),
    ("[[venue]]", "[margin]\nvol_moves = [0.1]\n[[venue]]", f"19: [margin] vol_moves: {GRID}"),
    ("[[venue]]", f"[margin]\nvol_moves = {list(range(65))}\n[[venue]]", f"19: [margin] vol_moves: {GRID}"),
    ("[[venue]]", "[market]\ncollar_fraction = 1\n[[venue]]", "19: [market] collar_fraction: must be a decimal number"),
    (
        "[[venue]]",
        "[market]\ngeneration_max_age_ms = 499\n[[venue]]",
        "19: [market] generation_max_age_ms: must be at least twice generation_interval_ms, 500, not 499",
    ),
    (
        "listen_port = 9878",
        "listen_port = 9878\nmax_write_buffer_bytes = 262143",
        "market_data_backlog_bytes: with 65536, max_write_buffer_bytes must be at least 262144, not 262143",
    ),
    ("[[venue]]", "[monitor]\nreport_interval_ms = 60000\n[[venue]]", "19: [monitor] report_interval_ms: must be"),
    ("[[venue]]", '[monitor]\n"a\\nb" = 1\n[[venue]]', "19: [monitor] a\\nb: unknown key"),
]


@pytest.mark.parametrize(("old", "new", "expected"), REFUSED, ids=lambda text: text[:60])
def test_what_is_refused_and_where(old: str, new: str, expected: str) -> None:
    found = problems(replaced(old, new))
    assert any(expected in line if expected[0].isalpha() else line.startswith(expected) for line in found), found
    assert "hunter2" not in "\n".join(found)


def test_every_problem_is_told_in_the_order_of_the_file() -> None:
    text = MINIMAL
    for old, new in (
        ("listen_port = 9878", "listen_port = 0"),
        ('name = "g"', "nme = 1"),
        ("max_order_quantity = 10\n", "max_order_quantity = -10\n"),
        ('kind = "deribit"', 'kind = "x"'),
        ('accounts = ["A"]', 'accounts = ["B"]'),
        ("wss://", "ws://"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    found = [
        line.split(": must")[0].split(": unknown")[0].split(": is")[0].split(": there")[0] for line in problems(text)
    ]
    assert found == [
        "1: [gateway] name",
        "2: [gateway] nme",
        "5: [fix] listen_port",
        "9: [[fix.session]] accounts[0]",
        "16: [[account.limits.instrument]] max_order_quantity",
        "20: [[venue]] kind",
        "21: [[venue]] url",
    ]


def test_an_empty_file_lacks_everything() -> None:
    assert [line.split(":")[1] for line in problems("")] == [" [account]", " [fix]", " [gateway]", " [venue]"]


def test_a_file_that_is_wrong_everywhere_is_cut_short() -> None:
    found = problems("".join(f"key{number} = 1\n" for number in range(200)))
    assert len(found) == 101
    assert found[-1] == " and 104 more"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fix = 1\n", "1: [fix]: must be a table, not 1"),
        ("account = {}\n", "1: [account]: must be an array of tables with at least one element, not a table"),
        ("venue = []\n", "1: [venue]: must be an array of tables with at least one element, not []"),
        ("[fix]\nsession = 'x'\n", "2: [fix] session: must be an array of tables"),
        ("venue = [\n  5 ]\n", "2: [venue][0]: must be a table, not 5"),
        ("[[account]]\nlimits = 5\n", "2: [[account]] limits: must be a table, not 5"),
        ("[[account]]\nlimits.instrument = [5]\n", "2: [account.limits] instrument[0]: must be a table, not 5"),
    ],
)
def test_what_is_no_table(text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = \n", "2: not TOML: Invalid value"),
        ("a = 1\na = 2\n", "2: not TOML: Cannot overwrite a value"),
        ("a = 1\nb = [1,\n", "3: not TOML: "),
        ("a = 1979-13-45\n", "1: not TOML: "),
        ("a = " + "[" * 5000, " not TOML: "),
        ("a = 1e99999999999999999999\n", " not TOML: "),
        (f"a = {'9' * 5000}\n", " not TOML: "),
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_not_toml(text: str, expected: str) -> None:
    (line,) = problems(text)
    assert line.startswith(expected)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        load(tmp_path / "absent.toml")
    path = tmp_path / "g.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match=r"g\.toml:2: not UTF-8"):
        load(path)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ConfigError, match="longer than"):
        load(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_edit_of_the_example_is_accepted_or_refused_in_order(data: st.DataObject) -> None:
    lines = EXAMPLE.read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        key = lines[index].partition("=")[0]
        value = data.draw(st.sampled_from(["0", "-1", '""', "[]", "{}", "[0]", "nan", "true", "[[1], {a = 1}]", '"x"']))
        lines[index] = data.draw(st.sampled_from(["", lines[index] * 2, f"{key}= {value}", lines[index - 1], "[x]"]))
    try:
        assert isinstance(parse("\n".join(lines), EXAMPLE), Config)
    except ConfigError as error:
        for line in str(error).split("\n"):
            assert re.match(rf"{re.escape(str(EXAMPLE))}:[0-9]+: ", line), line


# --- the document -------------------------------------------------------------------------------------------------


def test_the_document_has_the_table_of_keys_that_the_code_has() -> None:
    document = DOCUMENT.read_text()
    assert config_reference.updated(document) == document, "run: python -m gateway.config.reference FILE"
    assert "### `[[account.limits.instrument]]`" in document


def test_every_default_has_its_reason() -> None:
    source = Path(config_schema.__file__).read_text().split("\n")
    of_pricing = Path(pricing_defaults.__file__).read_text().split("\n")
    lines = [*source, *of_pricing]
    for number, line in enumerate(lines):
        if line.startswith("DEFAULT_"):
            above = lines[number - 1]
            assert above.startswith(("# ", "DEFAULT_")), line
    defaults = [match for line in source for match in re.findall(r"\] = (.+)$", line) if not line.startswith("DEFAULT")]
    constants = (
        "DEFAULT_",
        "pricing_defaults.DEFAULT_",
        "None",
        "{}",
        "(",
        "Market()",
        "Guard()",
        "Adjust()",
        "Margin()",
        "Monitor()",
        "Reconciliation()",
        "Annotated",
    )
    constants += ("()", "field(", "House()", "Stress()", "Parameters()")
    assert all(default.startswith(constants) for default in defaults), defaults


def test_the_reference_is_written_into_a_document(tmp_path: Path) -> None:
    path = tmp_path / "document.md"
    path.write_text(f"before\n{config_reference.BEGIN}\nOUTDATED\n{config_reference.END}\nafter\n")
    config_reference.main([str(path)])
    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "OUTDATED" not in text
    assert config_reference.reference() in text

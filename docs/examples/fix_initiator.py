"""A FIX initiator: logs on, sends one order, prints what is said of it, logs out. `python fix_initiator.py --help`

As it stands it is the client of fixtures/first.toml (docs/first-steps.md), and of fix_acceptor.py.
"""

import argparse
import asyncio
import time

from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.session import INITIATOR, LoggedOn, MessageReceived, Session, SessionConfig, SessionKey, SessionState

ORDER = Layout("D", (11, 21, 38, 40, 44, 54, 55, 59, 60))
SAID = {11: "ClOrdID", 37: "OrderID", 39: "OrdStatus", 150: "ExecType", 58: "Text"}


async def trade(
    port: int, version: str = "FIX.4.4", cl_ord_id: str = "order-1", quantity: str = "10", price: str = "50000.5"
) -> list[Message]:
    """Buy BTC-PERPETUAL; return the reports that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # It keeps no numbers from run to run, so they begin at 1 with each Logon.
    config = SessionConfig(application_messages=frozenset({"8", "9"}), heart_bt_int=30, reset_on_logon=True)
    session = Session(lambda key: None, time.time_ns(), role=INITIATOR)
    session.logon(SessionState(SessionKey(version, "CLIENT", "GATE"), config), time.time_ns())
    reports: list[Message] = []
    while not session.is_closed:
        while data := session.data_to_send():
            writer.write(data)
        await writer.drain()
        wait_s = max(0.0, ((session.deadline_ns or 0) - time.time_ns()) / 1e9)
        try:
            data = await asyncio.wait_for(reader.read(65536), wait_s)
            if not data:
                session.connection_lost(time.time_ns())
            session.receive_data(data, time.time_ns())
        except TimeoutError:
            session.tick(time.time_ns())
        while (event := session.next_event()) is not None:
            now_ns = time.time_ns()
            if isinstance(event, LoggedOn):
                values = (cl_ord_id, "1", quantity, "2", price, "1", "BTC-PERPETUAL", "0")
                session.send(ORDER, (*(value.encode() for value in values), format_timestamp(now_ns)), now_ns)
            elif isinstance(event, MessageReceived):
                reports.append(event.message)
                session.logout("that was all", now_ns)
    writer.close()
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description="Send one order to buy BTC-PERPETUAL, and print what is said of it.")
    parser.add_argument("port", nargs="?", type=int, default=9878)
    parser.add_argument("version", nargs="?", default="FIX.4.4", choices=["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
    parser.add_argument("--cl-ord-id", default="order-1")
    parser.add_argument("--quantity", default="10", help="in USD")
    parser.add_argument("--price", default="50000.5")
    given = parser.parse_args()
    try:
        reports = asyncio.run(trade(**vars(given)))
    except OSError as error:
        raise SystemExit(f"127.0.0.1:{given.port}: {error.strerror}: does the gateway run?") from None
    for report in reports:
        for tag, value in zip(SAID, report.values(tuple(SAID)), strict=True):
            print(f"{SAID[tag]}({tag})", "" if value is None else value.decode())  # noqa: T201
    if not reports:
        raise SystemExit("nothing was said of it: the Logon was refused, or the connection lost")


if __name__ == "__main__":
    main()

"""A FIX initiator: logs on, sends one order, prints its report, logs out. `python fix_initiator.py [PORT [VERSION]]`"""

import asyncio
import sys
import time

from protocols.fix.codec import Layout, Message, format_timestamp
from protocols.fix.session import INITIATOR, LoggedOn, MessageReceived, Session, SessionConfig, SessionKey, SessionState

ORDER = Layout("D", (11, 21, 38, 40, 44, 54, 55, 59, 60))


async def trade(port: int, version: str = "FIX.4.4") -> list[Message]:
    """Return the reports that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    config = SessionConfig(application_messages=frozenset({"8", "9"}), heart_bt_int=30)
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
                values = (
                    b"order-1",
                    b"1",
                    b"10",
                    b"2",
                    b"50000.5",
                    b"1",
                    b"BTC-PERPETUAL",
                    b"0",
                    format_timestamp(now_ns),
                )
                session.send(ORDER, values, now_ns)
            elif isinstance(event, MessageReceived):
                reports.append(event.message)
                session.logout("that was all", now_ns)
    writer.close()
    return reports


if __name__ == "__main__":
    port, version = int(sys.argv[1]) if len(sys.argv) > 1 else 9876, sys.argv[2] if len(sys.argv) > 2 else "FIX.4.4"
    for report in asyncio.run(trade(port, version)):
        print(report.values((11, 37, 39, 150)))  # noqa: T201

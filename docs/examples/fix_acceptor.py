"""A FIX acceptor: answers every order with an ExecutionReport that it is new. `python fix_acceptor.py [PORT]`"""

import asyncio
import sys
import time

from protocols.fix.codec import Layout
from protocols.fix.session import Disconnected, MessageReceived, Session, SessionKey, SessionState, send_or_store

# Any of FIX.4.2, FIX.4.4 and FIXT.1.1; the state outlives connections, so numbers do too.
KEYS = [SessionKey(version, "GATE", "CLIENT") for version in ("FIX.4.2", "FIX.4.4", "FIXT.1.1")]
REPORT = Layout("8", (6, 11, 14, 17, 37, 38, 39, 54, 55, 150, 151))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, states: dict[SessionKey, SessionState]):
    session = Session(states.get, time.time_ns())
    while not session.is_closed:
        # A session sleeps until bytes come or its deadline is due, whichever is first.
        wait_s = max(0.0, ((session.deadline_ns or 0) - time.time_ns()) / 1e9)
        try:
            data = await asyncio.wait_for(reader.read(65536), wait_s)
            if not data:
                session.connection_lost(time.time_ns())
            session.receive_data(data, time.time_ns())
        except TimeoutError:
            session.tick(time.time_ns())
        while (event := session.next_event()) is not None:
            if isinstance(event, MessageReceived) and event.message.msg_type == "D":
                cl_ord_id, quantity, side, symbol = event.message.values((11, 38, 54, 55))
                order_id = session.state.next_out
                # In the words of FIX 4.4; send_or_store writes it as the session's version has it.
                values = (b"0", cl_ord_id, b"0", order_id, order_id, quantity, b"0", side, symbol, b"0", quantity)
                send_or_store(session.state, REPORT, values, time.time_ns())
            elif isinstance(event, Disconnected):
                print("disconnected:", event.reason)  # noqa: T201
        while data := session.data_to_send():
            writer.write(data)
            await writer.drain()  # a resend comes in pieces: a client that does not read gets no more of it
    writer.close()


async def listen(port: int = 0) -> asyncio.Server:
    states = {key: SessionState(key) for key in KEYS}
    return await asyncio.start_server(lambda reader, writer: serve(reader, writer, states), "127.0.0.1", port)


async def main(port: int) -> None:
    async with await listen(port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9876))

"""The floor: a uvloop Protocol that sends back what it reads. Prints its port, stops with its standard input."""

import asyncio
import sys
from typing import cast

import uvloop


class Echo(asyncio.Protocol):
    """One write per read, and nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def serve() -> None:
    """Serve until the parent closes our standard input."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin, stopped.set)
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())

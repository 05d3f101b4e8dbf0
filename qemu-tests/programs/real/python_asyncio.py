"""A server and clients in one event loop over a unix socket and over TCP, with timers and a child."""

import asyncio
import os

SCALE = int(os.environ["SCALE"])
CLIENTS = 8
LINES = 25 * SCALE


async def serve(reader, writer):
    while line := await reader.readline():
        number = int(line)
        total = sum(value * value % 7 for value in range(number % 2000))
        writer.write(b"%d %d\n" % (number, total))
        await writer.drain()
    writer.close()


async def ask(name, connection):
    reader, writer = connection
    answers = []
    for line in range(LINES):
        writer.write(b"%d\n" % (name * 977 + line * 31))
        answers.append(int((await reader.readline()).split()[1]))
        if line % 10 == 0:
            await asyncio.sleep(0.002)
    writer.close()
    await writer.wait_closed()
    return name, len(answers), sum(answers)


async def too_late():
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(100)
    except TimeoutError:
        return "timed out"


async def main():
    unix = await asyncio.start_unix_server(serve, "server.socket")
    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    connections = [
        await (asyncio.open_unix_connection("server.socket") if name % 2 else asyncio.open_connection("127.0.0.1", port))
        for name in range(CLIENTS)
    ]
    answers = await asyncio.gather(*(ask(name, connection) for name, connection in enumerate(connections)))
    for answer in answers:
        print(*answer)
    child = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate(b"through a child\n")
    print(out.decode().strip(), child.returncode, await too_late())
    print(await asyncio.get_running_loop().run_in_executor(None, sum, range(100_000)))
    for server in (unix, tcp):
        server.close()
        await server.wait_closed()
    os.unlink("server.socket")


asyncio.run(main())

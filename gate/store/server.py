"""Which server a connection leads to. Another one than last time may have lost what was said last (a replica that was promoted,
a restart from an older file), and whoever comes first would not know: so every new connection asks before anything else is said
on it, and the room scripts compare that with the server on which their line was last written.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

T = TypeVar("T")
TRIES = 4  # of one call, each to find another server


class _This(str):
    """Stands for the server in the arguments of a call, until it is known which one that goes to."""

    __slots__ = ()


THIS_SERVER: Final = _This("")


class OtherServer(Disconnected):
    """A new connection leads to another server than was known. Nothing was sent; the call can be repeated at once."""


class Server(Redis):
    """redis-py's client of one address, which puts what the server says of itself in the place of :data:`THIS_SERVER`.

    In words: the run of the server (``run_id``), the history of its data (``master_replid``, which a replica shares with its
    master), the one it took over (``master_replid2``), and when it was started, in microseconds of its own clock. A user who
    may not ask (``INFO``) gets "".
    """

    in_cluster = False
    said = ""

    def meets_servers(self, *, in_cluster: bool) -> "Server":
        """To be called once, before the first connection."""
        self.in_cluster = in_cluster
        self.connection_pool.connection_kwargs["redis_connect_func"] = self._meet
        return self

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        execute: Callable[..., Awaitable[Any]] = super().execute_command
        return await steady(lambda: execute(*self.named(args), **options))

    def named(self, args: tuple[Any, ...]) -> list[Any]:
        return [self.said if arg is THIS_SERVER else arg for arg in args]

    async def _meet(self, connection: Any) -> None:
        await connection.on_connect()
        answers: list[bytes] = []
        for section in ("server", "replication"):
            await connection.send_command("INFO", section)
        for _ in range(2):
            try:
                answers.append(await connection.read_response(disable_decoding=True))
            except ResponseError:
                answers.append(b"")
        said = _words(b"\r\n".join(answers).decode(), in_cluster=self.in_cluster)
        known, self.said = self.said, said
        if said.split()[:1] != known.split()[:1]:
            raise OtherServer("another server than before")
        if said.split()[1:3] == known.split()[1:3]:
            self.said = known  # the start is known by the second only, and does not change


async def steady(operation: Callable[[], Awaitable[T]]) -> T:
    """``operation``, anew where it found another server than was known."""
    for _ in range(TRIES - 1):
        try:
            return await operation()
        except OtherServer:
            continue
    return await operation()


def _words(info: str, *, in_cluster: bool) -> str:
    facts = dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line)
    run, history, forebear = (facts.get(name, "") for name in ("run_id", "master_replid", "master_replid2"))
    if not run:
        return ""
    if not (in_cluster and history and forebear):
        return f"{run} - - 0"  # all servers have one history: keys come from nowhere else
    started = int(facts.get("server_time_usec", 0)) - 1_000_000 * int(facts.get("uptime_in_seconds", 0))
    return f"{run} {history} {forebear} {max(0, started)}"

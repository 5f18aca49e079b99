"""Somebody at the console with a browser without JavaScript."""

import time
from urllib.parse import urlencode

from gate.core.instants import format_instant
from gate.core.orders import Orders
from gate.heartbeat import RoomBeat
from tests.operator.conftest import Listener
from tests.processes import Reply

HERE = {"Sec-Fetch-Site": "same-origin"}


class Person:
    """Keeps its cookies, and is signed in where it is given a token."""

    def __init__(self, gate: Listener, token: str | None = None) -> None:
        self.gate = gate
        self.jar: dict[str, str] = {}
        if token is not None:
            reply = self.post("/login", token=token)
            assert reply.status == 303, reply.text

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> Reply:
        return self._call("POST", path, urlencode(fields), headers if headers is not None else HERE)

    def get(self) -> str:
        reply = self._call("GET", "/", None, {})
        assert reply.status == 200
        return reply.text

    def _call(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Reply:
        cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        reply = self.gate.api(method, path, body, token=None, **headers, **({"Cookie": cookie} if cookie else {}))
        self.jar.update(reply.cookies)
        return reply


def orders(gate: Listener) -> Orders:
    assert gate.backend is not None
    return gate.backend.orders


def on_sale(gate: Listener) -> None:
    """The room `drop` opens in two hours, with a draw."""
    now = time.time()
    sale = f'opens: "{format_instant(now + 7260)}", closes: "{format_instant(now + 9000)}", order: random, maximum: 50000'
    text = gate.config.read_text()
    gate.config.write_text(text.replace("10/second}", f"10/second, {sale}, groups: {{members: {{share: 30%}}}}}}"))
    gate.stop()
    gate.start()
    gate.beat(rooms={"drop": RoomBeat(last=900, waiting=900, commitment="ab" * 32)})

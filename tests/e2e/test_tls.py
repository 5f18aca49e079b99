"""HTTPS on the visitors' side, from the config: certificate, cookies, what the shop is told, and a restart."""

import http.client
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGHUP

import pytest

from tests.processes import Gate, eventually, fetch, running

pytestmark = pytest.mark.slow


class Shop(BaseHTTPRequestHandler):
    """Says how the visitor came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = (self.headers["x-forwarded-proto"] + " " + self.headers["forwarded"]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    make_certificate(cert, key)
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    shop.daemon_threads = True
    thread = threading.Thread(target=shop.serve_forever, daemon=True)
    thread.start()
    gate = Gate(
        directory,
        {
            "tls": {"certificate": str(cert), "key": str(key)},
            "origin": {"servers": [f"http://127.0.0.1:{shop.server_port}"], "health": None},
            "rooms": {"checkout": {"match": "/checkout/**", "rate": "1/minute", "burst": 1}},
        },
    )
    gate.url = f"https://localhost:{gate.port}"
    gate.trust = ssl.create_default_context(cafile=str(cert))
    try:
        with running(gate):
            yield gate
    finally:
        shop.shutdown()
        shop.server_close()
        thread.join()


def make_certificate(cert: Path, key: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)


def test_the_shop_is_told_that_the_visitor_came_by_https(gate: Gate) -> None:
    reply = fetch(gate.url + "/", trust=gate.trust)
    assert reply.status == 200
    assert reply.text.startswith("https for=127.0.0.1;")
    assert "proto=https" in reply.text


def test_cookies_are_bound_to_the_host_and_to_https(gate: Gate) -> None:
    first = fetch(gate.url + "/checkout/x", trust=gate.trust)
    assert first.decision == "forward; room=checkout; reason=admitted"
    (cookie,) = first.headers.get_all("set-cookie")
    assert cookie.startswith("__Host-gate_pass_checkout=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    again = fetch(gate.url + "/checkout/x", trust=gate.trust, cookies=first.cookies)
    assert again.decision == "forward; room=checkout; reason=pass"
    second = fetch(gate.url + "/checkout/x", trust=gate.trust)
    (ticket,) = second.headers.get_all("set-cookie")
    assert (second.status, ticket.split("=")[0]) == (503, "__Host-gate_ticket_checkout")
    assert "Secure" in ticket


def test_plain_http_and_old_tls_get_nothing(gate: Gate) -> None:
    with pytest.raises(OSError):
        fetch(f"http://localhost:{gate.port}/")
    old = ssl.create_default_context(cafile=gate.settings["tls"]["certificate"])
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        fetch(gate.url + "/", trust=old)


def workers(gate: Gate) -> set[int]:
    """Process ids of those who are alive by their own word, and by the system's."""
    assert gate.process is not None
    return {worker["pid"] for worker in gate.status()["workers"]} & set(gate.process.children())


def applied(gate: Gate) -> int:
    assert gate.process is not None
    return gate.process.log.read_text().count("config_applied")


def test_a_rolling_restart_fails_no_request_of_those_who_keep_their_connections(gate: Gate) -> None:
    stop = threading.Event()
    answered, connections = [0] * 6, [0] * 6
    failed: list[Exception] = []
    assert gate.process is not None

    def shop_on(number: int) -> None:
        connection = None
        while not stop.is_set():
            if connection is None:
                connection = http.client.HTTPSConnection("localhost", gate.port, timeout=30, context=gate.trust)
                connections[number] += 1
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
            except (OSError, http.client.HTTPException, AssertionError) as error:
                failed.append(error)
                return
            answered[number] += 1
            if response.will_close:
                connection.close()
                connection = None
            time.sleep(0.03)
        if connection is not None:
            connection.close()

    shoppers = [threading.Thread(target=shop_on, args=(number,)) for number in range(6)]
    for shopper in shoppers:
        shopper.start()
    try:
        for turn in range(2):
            before = workers(gate)
            gate.settings["brand"] = {"name": f"Turn {turn}"}
            gate.write()
            gate.process.signal(SIGHUP)
            eventually(lambda turn=turn: applied(gate) > turn, 150, what="the config is in force")
            eventually(lambda before=before: not before & workers(gate), 150, what="the workers are new ones")
            seen = sum(answered)
            eventually(lambda seen=seen: sum(answered) > seen + 20 or failed)
    finally:
        stop.set()
        for shopper in shoppers:
            shopper.join()
    assert failed == []
    assert all(count >= 2 for count in connections), "nobody was asked to come back on a new connection"

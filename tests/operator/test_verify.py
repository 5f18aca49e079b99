"""gate verify-draw, and the algorithm as docs/draw.md has it."""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gate.commands import schema, verify
from gate.core.draw import commitment, drawn_place
from tests.processes import free_port

SEED = bytes(range(32))
PROMISED = commitment(SEED)
app = typer.Typer()
for _module in (verify, schema):  # with one command alone, typer would leave its name out
    _module.register(app)


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}).invoke(app, ["verify-draw", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


PUBLISHED = ("--seed", SEED.hex(), "--drawn", "1000")


def test_a_place_is_recomputed() -> None:
    code, out, err = run(*PUBLISHED, "--number", "17", "--commitment", PROMISED.upper())
    assert code == 0
    assert out == f"number 17 has place {drawn_place(SEED, 1000, 17)} of 1000 drawn\n"
    assert err == f"The seed matches the commitment {PROMISED}.\n"
    code, out, err = run(*PUBLISHED, "--number", "1001")
    assert (code, out) == (0, "number 1001 has place 1001 behind the 1000 drawn: it came after the draw\n")
    assert PROMISED in err


def test_another_seed_than_the_promised_one_is_called_so() -> None:
    code, out, err = run(*PUBLISHED, "--number", "17", "--commitment", "ab" * 32)
    assert code == 1
    assert "does NOT match" in err
    assert "number 17" in out
    found = json.loads(run(*PUBLISHED, "--commitment", "ab" * 32, "--json")[1])
    assert found["matches"] is False
    assert found["commitment"] == PROMISED


def test_all_places_are_everybody_once() -> None:
    code, out, _ = run("--seed", SEED.hex(), "--drawn", "57", "--all")
    assert code == 0
    head, *rows = out.splitlines()
    assert head == "number,place"
    pairs = [tuple(map(int, row.split(","))) for row in rows]
    assert [number for number, _ in pairs] == list(range(1, 58))
    assert sorted(place for _, place in pairs) == list(range(1, 58))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to verify"),
        (("--number", "1"), "give --seed and --drawn"),
        (("--seed", "xyz", "--drawn", "5", "--number", "1"), "write hex digits"),
        (("--seed", "abcd", "--drawn", "5", "--number", "1"), "it has 2 bytes"),
        ((*PUBLISHED, "--number", "0"), ""),
        (("ftp://x/", "--number", "1"), "no web address"),
        (("http://x/", *PUBLISHED), "give the address of the status document, or --seed and --drawn"),
    ],
    ids=str,
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in " ".join(err.replace("│", " ").split())


Serve = Callable[[Any], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves one document; returns its address."""
    found: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(found["body"])

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def put(document: Any) -> str:
        found["body"] = document if isinstance(document, bytes) else json.dumps(document).encode()
        return f"http://127.0.0.1:{server.server_port}/__gate/rooms/drop/status"

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def test_by_the_status_document(serve: Serve) -> None:
    draw = {"commitment": PROMISED, "drawn": 1000, "seed": SEED.hex()}
    url = serve({"room": "drop", "draw": draw})
    code, out, _ = run(url, "--number", "17")
    assert (code, out) == (0, f"number 17 has place {drawn_place(SEED, 1000, 17)} of 1000 drawn\n")
    assert run(url)[0] == 0  # only: does it match?
    assert run(url, "--number", "17", "--commitment", "ab" * 32)[0] == 1  # not the one noted before
    url = serve({"draw": {**draw, "commitment": "ab" * 32}})
    code, _, err = run(url, "--number", "17")
    assert code == 1
    assert "does NOT match" in err


def test_documents_that_tell_no_draw(serve: Serve) -> None:
    for document, said in (
        ({"draw": None}, "has no draw"),
        ({"draw": {"commitment": PROMISED, "drawn": None, "seed": None}}, f"The commitment is {PROMISED}"),
        ({"draw": {"commitment": PROMISED, "drawn": -1, "seed": SEED.hex()}}, "Nobody was drawn"),
        ({"draw": {"commitment": PROMISED, "drawn": "x", "seed": "y"}}, "does not tell the draw"),
        ({}, "is not a room's status document"),
        ([], "is not a room's status document"),
        (b"<html>", "is not a room's status document"),
    ):
        code, out, err = run(serve(document), "--number", "1")
        assert (code, out) == (1, ""), document
        assert said in err
    assert "does not answer" in run(f"http://127.0.0.1:{free_port()}/status", "--number", "1")[2]


def test_the_algorithm_in_the_docs_is_the_one_in_force() -> None:
    page = (Path(__file__).parents[2] / "docs/draw.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/draw.md", "exec"), names)
    for seed in (SEED, bytes(32), b"\xff" * 32):
        for drawn in (1, 2, 3, 10, 97, 1000, 65_537):
            for number in {1, min(2, drawn), drawn // 2 or 1, drawn}:
                assert names["place"](seed, drawn, number) == drawn_place(seed, drawn, number)
    first, last = map(int, re.findall(r"number 1 has place (\d+), and number 1000 has place (\d+)", page)[0])
    assert (first, last) == (drawn_place(bytes(32), 1000, 1), drawn_place(bytes(32), 1000, 1000))

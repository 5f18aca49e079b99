"""The presets: what comes with the gate, and how their networks are renewed."""

import http.server
import json
import threading
from datetime import date

import pytest
from typer.testing import CliRunner

from gate import edges
from gate.core.address import visitor_address
from gate.core.settings import EDGE_PRESETS, Edge
from gate.edges import CDNS, BadList, NetworkList, networks, published
from tests.processes import free_port

TODAY = "2026-11-22"
CLOUDFLARE = "\n".join(f"198.41.{n}.0/24" for n in range(12)) + "\n2606:4700::/32\n"
FASTLY = json.dumps({"addresses": [f"151.101.{n}.0/24" for n in range(9)], "ipv6_addresses": ["2a04:4e40::/32"]})
AMAZON = json.dumps(
    {
        "prefixes": [{"ip_prefix": f"13.32.{n}.0/24", "service": "CLOUDFRONT"} for n in range(60)]
        + [{"ip_prefix": "52.0.0.0/15", "service": "EC2"}],
        "ipv6_prefixes": [{"ipv6_prefix": "2600:9000::/28", "service": "CLOUDFRONT"}],
    }
)


@pytest.fixture
def site():
    """A CDN's web site on this machine: ``pages`` maps a path to (status, body)."""
    pages = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = pages.get(self.path, (404, "no such page"))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    server.pages = pages
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# --------------------------------------------------------------------------- what is shipped


def test_the_presets_of_the_config_are_these():
    assert sorted(EDGE_PRESETS) == sorted(CDNS)


@pytest.mark.parametrize("name", sorted(CDNS))
def test_a_shipped_list_says_where_it_is_from(name):
    listed = edges.shipped(name)
    assert listed.name == name
    assert listed.source
    assert listed.copy
    if listed.networks:
        assert date.fromisoformat(listed.dated) <= date.fromisoformat(TODAY)
        assert len(listed.networks) >= CDNS[name].least
        assert "commit" in listed.copy
    else:
        assert not listed.dated


def test_each_preset_reads_its_own_header(tmp_path):
    cloudfront = NetworkList("cloudfront", TODAY, "test", "", networks(["13.32.0.0/15"]))
    edges.refreshed_path(tmp_path, "cloudfront").parent.mkdir()
    edges.refreshed_path(tmp_path, "cloudfront").write_text(json.dumps(cloudfront.to_json()))
    trust = edges.trust_for(Edge(trust=["cloudflare", "fastly", "cloudfront"]), tmp_path)
    for peer, header, value in (
        ("104.16.0.1", b"cf-connecting-ip", b"203.0.113.7"),
        ("151.101.0.1", b"fastly-client-ip", b"203.0.113.7"),
        ("13.32.0.1", b"cloudfront-viewer-address", b"203.0.113.7:46532"),
    ):
        assert str(visitor_address(peer, ((header, value),), trust).address) == "203.0.113.7"


# --------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0/0", "too wide"),
        ("::/0", "too wide"),
        ("8.0.0.0/7", "too wide"),
        ("2000::/3", "too wide"),
        ("10.0.0.0/8", "public"),
        ("192.168.0.0/16", "public"),
        ("127.0.0.0/8", "public"),
        ("fe80::/64", "public"),
        ("224.0.0.0/8", "public"),
        ("203.0.113.0/24", "public"),  # documentation
        ("1.2.3.4/24", "not a network"),
        ("<html>", "not a network"),
        ("", "not a network"),
    ],
)
def test_networks_that_no_cdn_has(text, why):
    with pytest.raises(BadList, match=why):
        networks(["1.1.1.0/24", text])


@pytest.mark.parametrize(
    ("name", "body", "count"), [("cloudflare", CLOUDFLARE, 13), ("fastly", FASTLY, 10), ("cloudfront", AMAZON, 61)]
)
def test_each_cdns_format(site, name, body, count):
    site.pages["/list"] = (200, body)
    found = published.fetch(CDNS[name], TODAY, (site.url + "/list",))
    assert (found.name, found.dated, found.source) == (name, TODAY, site.url + "/list")
    assert len(found.networks) == count
    assert NetworkList.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_several_addresses_are_one_list(site):
    site.pages |= {"/v4": (200, CLOUDFLARE.rpartition("2606")[0]), "/v6": (200, "2606:4700::/32\n")}
    assert len(published.fetch(CDNS["cloudflare"], TODAY, (site.url + "/v4", site.url + "/v6")).networks) == 13


@pytest.mark.parametrize(
    ("name", "status", "body", "error"),
    [
        ("cloudflare", 200, "", BadList),
        ("cloudflare", 200, "1.1.1.0/24", BadList),  # too few
        ("cloudflare", 200, "<html>Just a moment...</html>", BadList),
        ("cloudflare", 200, CLOUDFLARE + "0.0.0.0/0\n", BadList),
        ("cloudflare", 200, CLOUDFLARE + "10.0.0.0/8\n", BadList),
        ("cloudflare", 503, CLOUDFLARE, published.NotFetched),
        ("cloudflare", 302, "http://localhost:1/", published.NotFetched),
        ("fastly", 200, "[]", BadList),
        ("fastly", 200, "{}", BadList),
        ("cloudfront", 200, '{"prefixes": []}', BadList),
        ("cloudfront", 200, '{"prefixes": [], "ipv6_prefixes": []}', BadList),
    ],
)
def test_what_is_not_taken(site, monkeypatch, name, status, body, error):
    monkeypatch.setattr(published, "TIMEOUT", 0.5)
    site.pages["/list"] = (status, body)
    with pytest.raises(error):
        published.fetch(CDNS[name], TODAY, (site.url + "/list",))


def test_a_redirect_on_the_same_host_is_followed(site):
    site.pages |= {"/list": (302, site.url + "/list/"), "/list/": (200, CLOUDFLARE)}
    assert len(published.fetch(CDNS["cloudflare"], TODAY, (site.url + "/list",)).networks) == 13


def test_only_https_or_this_machine():
    for url in ("http://example.com/list", "file:///etc/passwd", "ftp://127.0.0.1/list", "http://127.0.0.1.example.com:80/"):
        with pytest.raises(published.NotFetched, match="only https"):
            published.fetch(CDNS["cloudflare"], TODAY, (url,))


def test_a_list_that_nobody_publishes():
    with pytest.raises(published.NotFetched, match="publishes no list"):
        published.fetch(CDNS["akamai"], TODAY)


# --------------------------------------------------------------------------- which list is in force


def kept(state, dated="2027-01-01", ranges=("1.1.1.0/24",), text=None):
    path = edges.refreshed_path(state, "cloudflare")
    path.parent.mkdir(exist_ok=True)
    data = {"name": "cloudflare", "date": dated, "source": "x", "ranges": list(ranges)}
    path.write_text(json.dumps(data) if text is None else text)


def test_the_newer_list_is_in_force(tmp_path):
    assert edges.known("cloudflare", tmp_path) == edges.shipped("cloudflare")
    kept(tmp_path)
    assert [str(network) for network in edges.known("cloudflare", tmp_path).networks] == ["1.1.1.0/24"]
    kept(tmp_path, dated="2020-01-01")
    assert edges.known("cloudflare", tmp_path) == edges.shipped("cloudflare")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": 1}', '{"name":"x","date":"2027","source":"","ranges":["0.0.0.0/0"]}']
)
def test_a_broken_file_in_the_state_is_ignored(tmp_path, text):
    kept(tmp_path, text=text)
    assert edges.known("cloudflare", tmp_path) == edges.shipped("cloudflare")


# --------------------------------------------------------------------------- commands


@pytest.fixture
def run(tmp_path):
    import typer

    from gate.commands import edge

    app = typer.Typer()
    edge.register(app)
    app.callback()(lambda: None)
    config = tmp_path / "gate.yaml"
    config.write_text(f"state: {tmp_path / 'state'}\nedge: {{trust: [cloudflare]}}\n")
    return lambda *args: CliRunner().invoke(app, ["edge", *args, "--config", str(config)])


def test_refresh_shows_the_difference_and_keeps_the_list(run, site, tmp_path):
    site.pages["/list"] = (200, CLOUDFLARE)
    result = run("refresh", "cloudflare", "--from", site.url + "/list")
    assert result.exit_code == 0, result.output
    assert "+ 198.41.0.0/24" in result.output
    assert "- 104.16.0.0/13" in result.output
    assert "13 in all" in result.output
    path = tmp_path / "state" / "edges" / "cloudflare.json"
    assert path.stat().st_mode & 0o077 == 0
    assert len(edges.known("cloudflare", tmp_path / "state").networks) == 13
    again = run("refresh", "cloudflare", "--from", site.url + "/list")
    assert "0 new, 0 gone" in again.output


def test_a_dry_run_keeps_nothing(run, site, tmp_path):
    site.pages["/list"] = (200, CLOUDFLARE)
    result = run("refresh", "cloudflare", "--from", site.url + "/list", "--dry-run")
    assert result.exit_code == 0
    assert "nothing kept" in result.output
    assert not (tmp_path / "state").exists()


def test_a_bad_list_changes_nothing_and_says_so(run, site, tmp_path):
    site.pages["/list"] = (200, "<html>")
    result = run("refresh", "cloudflare", "--from", site.url + "/list")
    assert result.exit_code == 1
    assert "nothing changed" in result.output
    assert not (tmp_path / "state" / "edges").exists()


def test_nobody_answers(run):
    result = run("refresh", "cloudflare", "--from", f"http://127.0.0.1:{free_port()}/")
    assert result.exit_code == 1
    assert "nothing changed" in result.output


def test_an_edge_that_we_do_not_know(run):
    result = run("refresh", "clodflare")
    assert result.exit_code == 1
    assert "cloudflare" in result.output


def test_list(run):
    text = run("list")
    assert "cf-connecting-ip" in text.output
    assert "trusted" in text.output
    rows = {row["name"]: row for row in json.loads(run("list", "--json").output)}
    assert rows["cloudflare"]["trusted"] is True
    assert rows["akamai"]["networks"] == []
    assert len(rows["fastly"]["networks"]) == 21

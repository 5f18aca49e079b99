"""How each peer is set up, in its best configuration: one core, kept-alive connections to the origin, no access log.

Each recipe writes its files into a directory and returns the command. ``secret`` is the key of the passes: the peers that
verify do so with the same cookie as the gate.
"""

import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers import Peers

COOKIE = "gate_pass_checkout"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """Where a server runs: its files, its port, the origin's port."""

    peers: Peers
    directory: Path
    port: int
    origin: int


def _nginx(place: Place, server: str, http: str = "", modules: str = "") -> list[str]:
    directory = place.directory
    (directory / "nginx.conf").write_text(f"""
{modules} {"user root;" if os.geteuid() == 0 else ""}
worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid {directory}/nginx.pid;
error_log {directory}/error.log; events {{ worker_connections 12000; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 600; keepalive_requests 1000000000;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s; client_max_body_size 0;
  {http}
  server {{ listen 127.0.0.1:{place.port} backlog=4096; server_name _; {server} }}
}}
""")
    return [*place.peers.where["nginx"], "-p", str(directory), "-c", str(directory / "nginx.conf")]


def origin(place: Place, big: int) -> list[str]:
    """The shop of the benchmark: nginx that answers 1 KB from memory, 100 KB and ``big`` bytes from files."""
    www = place.directory / "www"
    (www / "checkout").mkdir(parents=True)
    (www / "checkout/100k").write_bytes(b"x" * 102_400)
    with (www / "checkout/big").open("wb") as file:
        file.truncate(big)
    return _nginx(
        place,
        f"root {www}; location = /checkout/1k {{ return 200 '{'x' * 1024}'; }} location = /healthz {{ return 200; }}",
        "default_type text/plain; open_file_cache max=100; ",
    )


_UPSTREAM = "upstream origin {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 1000000000; }}"
_PASS = 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;'


def nginx(place: Place, buffers: str = "") -> list[str]:
    return _nginx(place, f"location / {{ {_PASS} {buffers} }}", _UPSTREAM.format(port=place.origin))


def nginx_tuned(place: Place) -> list[str]:
    return nginx(place, "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;")


def nginx_njs(place: Place, secret: bytes) -> list[str]:
    (place.directory / "gate.js").write_text(f"""
const crypto = require('crypto');
const key = Buffer.from('{urlsafe_b64encode(secret).decode().rstrip("=")}', 'base64url');
function verdict(r) {{
    const token = r.variables.cookie_{COOKIE};
    if (!token) return '0';
    const dot = token.lastIndexOf('.'), signed = token.slice(0, dot);
    if (crypto.createHmac('sha256', key).update(signed).digest('base64url') !== token.slice(dot + 1)) return '0';
    const claims = JSON.parse(Buffer.from(signed.slice(signed.indexOf('.') + 1), 'base64url').toString());
    return claims.aud === 'checkout' && claims.exp > Date.now() / 1000 ? '1' : '0';
}}
export default {{ verdict }};
""")
    return _nginx(
        place,
        f"location / {{ if ($passed = 0) {{ return 403; }} {_PASS} }}",
        f"js_path {place.directory}; js_import gate from gate.js; js_set $passed gate.verdict; "
        + _UPSTREAM.format(port=place.origin),
        f"load_module {place.peers.where['njs'][0]};",
    )


def haproxy_jwt(place: Place, secret: str) -> list[str]:
    """``secret`` is text: HAProxy takes no binary key from its config."""
    (place.directory / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend visitors
  bind 127.0.0.1:{place.port}
  http-request set-var(txn.jwt) req.cook({COOKIE})
  http-request deny deny_status 403 unless {{ var(txn.jwt),jwt_header_query('$.alg') -m str HS256 }}
  http-request deny deny_status 403 unless {{ var(txn.jwt),jwt_payload_query('$.aud') -m str checkout }}
  http-request set-var(txn.exp) var(txn.jwt),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 403 if {{ var(txn.exp),sub(txn.now) -m int lt 1 }}
  http-request deny deny_status 403 unless {{ var(txn.jwt),jwt_verify(HS256,"{secret}") 1 }}
  default_backend origin
backend origin
  server origin 127.0.0.1:{place.origin}
""")
    return [*place.peers.where["haproxy"], "-db", "-q", "-f", str(place.directory / "haproxy.cfg")]


def envoy_jwt(place: Place, secret: bytes) -> list[str]:
    """With its cache of verified tokens, made large enough for all of them."""
    key = {"kty": "oct", "alg": "HS256", "k": urlsafe_b64encode(secret).decode().rstrip("=")}
    provider = {
        "from_cookies": [COOKIE],
        "audiences": ["checkout"],
        "forward": True,
        "jwt_cache_config": {"jwt_cache_size": 32768},
        "local_jwks": {"inline_string": json.dumps({"keys": [key]})},
    }
    base = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{base}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "visitors",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]}
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.jwt_authn",
                "typed_config": {
                    "@type": f"{base}.http.jwt_authn.v3.JwtAuthentication",
                    "providers": {"gate": provider},
                    "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "gate"}}],
                },
            },
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{base}.http.router.v3.Router"}},
        ],
    }
    config = {
        "static_resources": {
            "listeners": [
                {
                    "name": "visitors",
                    "address": _address(place.port),
                    "filter_chains": [
                        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "origin",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": "origin",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(place.origin)}}]}],
                    },
                }
            ],
        }
    }
    (place.directory / "envoy.json").write_text(json.dumps(config))
    path = str(place.directory / "envoy.json")
    return [*place.peers.where["envoy"], "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def traefik(place: Place) -> list[str]:
    dynamic = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "origin", "entryPoints": ["web"]}},
            "services": {
                "origin": {
                    "loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{place.origin}"}], "serversTransport": "kept"}
                }
            },
            "serversTransports": {"kept": {"maxIdleConnsPerHost": 200}},
        }
    }
    (place.directory / "dynamic.yml").write_text(json.dumps(dynamic))  # JSON is YAML
    return [
        *place.peers.where["traefik"],
        f"--entrypoints.web.address=127.0.0.1:{place.port}",
        f"--providers.file.filename={place.directory}/dynamic.yml",
        "--log.level=ERROR",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]


def caddy(place: Place) -> list[str]:
    (place.directory / "Caddyfile").write_text(f"""
{{
  admin off
  auto_https off
  persist_config off
}}
http://:{place.port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{place.origin} {{
    transport http {{
      keepalive_idle_conns_per_host 200
    }}
  }}
}}
""")
    return [*place.peers.where["caddy"], "run", "--config", str(place.directory / "Caddyfile"), "--adapter", "caddyfile"]


def asgi(place: Place, kind: str) -> list[str]:
    """``kind``: hello, starlette-httpx or aiohttp."""
    library = {"hello": "uvicorn", "starlette-httpx": "httpx", "aiohttp": "aiohttp"}[kind]
    return [*place.peers.where[library], str(HERE / "asgi.py"), str(place.port), f"http://127.0.0.1:{place.origin}", kind]


def proxy_py(place: Place) -> list[str]:
    """With threads: under kept-alive load the event loop of its default mode ends with FileNotFoundError."""
    return [
        "env",
        f"ORIGIN=http://127.0.0.1:{place.origin}",
        f"PYTHONPATH={HERE}",
        *place.peers.where["proxy.py"],
        *("-m", "proxy", "--hostname", "127.0.0.1", "--port", str(place.port), "--num-workers", "1", "--num-acceptors", "1"),
        *("--threaded", "--log-level", "ERROR", "--enable-reverse-proxy", "--plugins", "proxy_py.Everything"),
        *("--data-dir", str(place.directory)),
    ]


def mitmproxy(place: Place) -> list[str]:
    return [
        *place.peers.where["mitmproxy"],
        *("--mode", f"reverse:http://127.0.0.1:{place.origin}", "--listen-host", "127.0.0.1"),
        *("--listen-port", str(place.port), "-q", "--set", f"confdir={place.directory}", "--set", "flow_detail=0"),
    ]

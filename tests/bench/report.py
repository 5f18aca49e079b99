"""Markdown, as it stands in docs/performance.md."""

import statistics
from collections.abc import Iterable

from tests.bench.cases import Contest
from tests.bench.contest import Case
from tests.bench.memory import Row
from tests.bench.peers import Peers

# which programs a case stands on, for its version
_PARTS = {
    "nginx": "nginx",
    "njs": "njs",
    "HAProxy": "haproxy",
    "Envoy": "envoy",
    "Traefik": "traefik",
    "Caddy": "caddy",
    "uvicorn": "uvicorn",
    "Starlette": "starlette",
    "httpx": "httpx",
    "aiohttp": "aiohttp",
    "proxy.py": "proxy.py",
    "mitmproxy": "mitmproxy",
}


def grid(columns: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def versions(name: str, peers: Peers) -> str:
    """``nginx + njs`` is ``1.22.1 + 0.7.9``."""
    return " + ".join(peers.versions[key] for word, key in _PARTS.items() if word in name and key in peers)


def contest(found: Contest, peers: Peers) -> str:
    """Ratios say how many times as good as the peer the gate is; 1.0 is a draw."""
    columns = ["case", "version", "requests/s", "gate ÷ it", "CPU µs/request", "it ÷ gate", "at least", "aim", "reached"]
    columns += ["p50 ms", "p99 ms", "MB", "errors", "others' CPU"]
    ours = found.cases[0]
    if ours.problem or not ours.samples:
        return f"### {found.title}\n\nNot measured: {ours.problem}."
    rows = [_row(case, ours, peers) for case in found.cases if case.samples and not case.problem]
    after = f"\n\nStore: {found.store}." if found.store else ""
    return f"### {found.title}\n\n{grid(columns, rows)}{after}"


def _row(case: Case, ours: Case, peers: Peers) -> list[str]:
    rate, cpu = case.median(lambda sample: sample.rate), case.median(lambda sample: sample.cpu)
    by_rate, by_cpu = (
        ours.median(lambda sample: sample.rate) / max(1, rate),
        cpu / max(0.01, ours.median(lambda sample: sample.cpu)),
    )
    mine = case is ours
    return [
        f"**{case.name}**" if mine else case.name,
        "" if mine else versions(case.name, peers),
        f"{rate:,.0f}",
        "" if mine else f"{by_rate:.2f}",
        f"{cpu:,.1f}",
        "" if mine else f"{by_cpu:.2f}",
        f"{case.least:g}" if case.least else "",
        f"{case.aim:g}" if case.aim else "",
        _verdict(by_rate, by_cpu, case.least, case.aim),
        f"{case.median(lambda sample: sample.p50):.2f}",
        f"{case.median(lambda sample: sample.p99):.1f}",
        f"{case.median(lambda sample: sample.memory):.0f}",
        f"{sum(sample.errors for sample in case.samples)}",
        f"{statistics.median(sample.foreign for sample in case.samples):.2f}",
    ]


def _verdict(by_rate: float, by_cpu: float, least: float | None, aim: float | None) -> str:
    if least is None:
        return ""
    if min(by_rate, by_cpu) >= (aim or least):
        return "aim" if aim else "yes"
    if min(by_rate, by_cpu) >= least:
        return "yes"
    return "no" if max(by_rate, by_cpu) < least else "by CPU" if by_cpu >= least else "by requests/s"


def memory(rows: list[Row]) -> str:
    return "### Memory\n\n" + grid(["what", "who", "growth", "at most", "aim"], rows)


def storms(rows: list[dict[str, str]]) -> str:
    title = "### Storm: new visitors out of nothing, 3 workers, load on the same cores"
    return f"{title}\n\n" + grid(list(rows[0]), [list(row.values()) for row in rows])

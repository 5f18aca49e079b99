"""The figures of one or more runs, as the rows of a table for people."""

from collections.abc import Callable, Sequence

from gate.simulation.measures import Figures, Part

Row = tuple[str, Callable[[Figures], str]]

AWAY = {"sale-over": "the sale was over", "sold-out": "sold out"}


def rows(found: Sequence[Figures]) -> list[tuple[str, ...]]:
    """A title and one value for each run. Rows that say nothing in any run are left out."""
    lines: list[Row] = [
        ("Visitors", lambda f: number(f.visitors)),
        ("Ghosts", lambda f: number(f.ghosts) if f.ghosts else ""),
        ("Entered", lambda f: number(f.fates["entered"])),
        ("Gave up", lambda f: number(f.fates["left"]) if f.fates["left"] else ""),
        ("Turned away, the line was full", lambda f: number(f.fates["full"]) if f.fates["full"] else ""),
        ("Turned away at the end", lambda f: f"{number(f.fates['over'])}, {AWAY[f.over]}" if f.over else ""),
        ("Still waiting when tickets ran out", lambda f: number(f.fates["waits"]) if f.fates["waits"] else ""),
        ("Orders", lambda f: number(f.sold) if f.sold else ""),
        ("Longest line", lambda f: f"{number(f.peak)} after {span(f.peak_at)}"),
        ("Longest line, as its maximum counts", lambda f: "" if f.maximum is None else number(f.counted)),
        ("Nobody waits any more", lambda f: "" if f.empty_at is None else f"after {span(f.empty_at)}"),
        ("Wait, half of them", lambda f: span(f.wait.p50)),
        ("Wait, 9 of 10", lambda f: span(f.wait.p90)),
        ("Wait, 99 of 100", lambda f: span(f.wait.p99)),
        ("Wait, the longest", lambda f: span(f.wait.most)),
        *_parts(found),
        ("Rate used while somebody waited", lambda f: "" if f.used_mean is None else f"{f.used_mean:.0%}"),
        (
            f"Rate used, least in {span(found[0].window)}",
            lambda f: "" if f.used is None or f.used_at is None else f"{f.used:.0%} after {span(f.used_at)}",
        ),
        ("Beyond burst + rate x time", lambda f: "nobody" if f.excess <= 0 else f"{f.excess:.2f} visitors"),
        ("Most inside", lambda f: number(f.most_inside)),
        ("Order of the line kept (Kendall's tau)", lambda f: "" if f.tau is None else f"{f.tau:.5f}"),
        (
            "Overtaken by one a second later",
            lambda f: f"{number(f.overtaken)} pairs, by {f.overtaken_by:.1f} s" if f.overtaken else "nobody",
        ),
        ("Knocks at the store", lambda f: number(f.knocks)),
    ]
    table = [(title, *(value(each) for each in found)) for title, value in lines]
    return [row for row in table if any(row[1:])]


def _parts(found: Sequence[Figures]) -> list[Row]:
    """For each group that somebody was invited to, and for the others."""
    lines: list[Row] = []
    for name in dict.fromkeys(part.group for each in found for part in each.parts):
        title = "Not invited" if name is None else f"Invited, {name}"

        def told(say: Callable[[Part], str], name: str | None = name) -> Callable[[Figures], str]:
            return lambda f: next((say(part) for part in f.parts if part.group == name), "")

        lines += [
            (title, told(lambda part: f"{number(part.entered)} of {number(part.visitors)} entered")),
            (f"{title}: wait, half of them", told(lambda part: span(part.wait.p50))),
            (f"{title}: wait, 9 of 10", told(lambda part: span(part.wait.p90))),
        ]
    return lines


def number(count: int) -> str:
    return f"{count:,}"


def span(seconds: float) -> str:
    """``45 s``, ``12 min 30 s``, ``2 h 05 min``, ``3 d 4 h``: two units at most."""
    if seconds < 59.95:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60:02} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    if minutes < 1440:
        return f"{minutes // 60} h" + (f" {minutes % 60:02} min" if minutes % 60 else "")
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"

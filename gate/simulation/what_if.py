"""What if: the same sale with one thing changed, to stand beside it."""

from collections.abc import Callable
from dataclasses import replace

from gate.core.notation import format_duration, parse_duration, parse_rate
from gate.simulation.sale import Outage, Sale

Changed = tuple[str, Sale]


def parse_share(text: str) -> float:
    """``50%`` → 0.5; from 0% to 100%. Raises :class:`ValueError`."""
    number = text.removesuffix("%").strip()
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not text.endswith("%") or not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not a share; write a percentage, like 50%")
    return share


def parse_count(text: str) -> int:
    """``20000``, ``20_000``. Raises :class:`ValueError`."""
    if not text.replace("_", "").isdigit():
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def invite(sale: Sale, text: str) -> Sale:
    """``vip=5%``: the sale with so many of its visitors invited to that group of the room. Raises :class:`ValueError`."""
    name, equals, share = text.partition("=")
    known = [group for group, _ in sale.terms.groups]
    if not equals:
        raise ValueError(f"{text!r} is no group with a share of the visitors; write it like vip=5%")
    if name not in known:
        raise ValueError(f"the room has no group {name!r}; it has: {', '.join(known) or 'none'}")
    invited = {**dict(sale.invited), name: parse_share(share)}
    if sum(invited.values()) > 1:
        raise ValueError("more than all visitors would be invited")
    return replace(sale, invited=tuple(invited.items()))


def what_if(sale: Sale, text: str) -> Changed:
    """``NAME`` or ``NAME=VALUE``, several with commas → what to call it, and the sale. Raises :class:`ValueError`."""
    labels = []
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        change = _CHANGES.get(name)
        if change is None:
            raise ValueError(f"{name!r} is nothing to try; write one of: {', '.join(_CHANGES)}")
        label, sale = change(sale, value)
        labels.append(label)
    return ", ".join(labels), sale


def _leave(sale: Sale, value: str) -> Changed:
    share = parse_share(value) if value else 0.5 if sale.leave < 0.5 else 0.9
    return f"{share:.0%} leave", replace(sale, leave=share)


def _store_dies(sale: Sale, value: str) -> Changed:
    seconds = parse_duration(value) if value else 60.0
    at = max(sale.curve.second_of(sale.curve.visitors // 2), (sale.opens or 0.0) + 60.0 * (sale.opens is not None))
    return f"store away for {format_duration(seconds)}", replace(sale, outage=Outage(at, seconds))


def _invited(sale: Sale, value: str) -> Changed:
    return f"invited {value}", invite(sale, value)


def _rate(sale: Sale, value: str) -> Changed:
    terms = sale.terms
    if not value:
        return "half the rate", replace(sale, terms=replace(terms, period=terms.period * 2))
    rate = parse_rate(value)
    return f"rate {value}", replace(sale, terms=replace(terms, amount=rate.amount, period=rate.get_expiry()))


def _burst(sale: Sale, value: str) -> Changed:
    return f"burst {value}", replace(sale, terms=replace(sale.terms, burst=_at_least_one(value)))


def _active(sale: Sale, value: str) -> Changed:
    cap = parse_count(value) or None
    return "no cap inside" if cap is None else f"{cap} inside", replace(sale, terms=replace(sale.terms, active=cap))


def _session(sale: Sale, value: str) -> Changed:
    return f"session {value}", replace(sale, terms=replace(sale.terms, session=parse_duration(value)))


def _maximum(sale: Sale, value: str) -> Changed:
    return f"line of {value}", replace(sale, terms=replace(sale.terms, maximum=_at_least_one(value)))


def _visitors(sale: Sale, value: str) -> Changed:
    return f"{_at_least_one(value):,} visitors", replace(sale, curve=sale.curve.grown_to(_at_least_one(value)))


def _ghosts(sale: Sale, value: str) -> Changed:
    return f"{parse_count(value):,} ghosts", replace(sale, ghosts=parse_count(value))


def _ghosts_seen(sale: Sale, value: str) -> Changed:
    share = parse_share(value)
    return f"{share:.0%} of the ghosts seen once", replace(sale, ghosts_seen=share)


def _stay(sale: Sale, value: str) -> Changed:
    return f"stay {value}", replace(sale, stay=parse_duration(value))


def _stock(sale: Sale, value: str) -> Changed:
    return f"{_at_least_one(value):,} to sell", replace(sale, stock=_at_least_one(value))


def _at_least_one(value: str) -> int:
    count = parse_count(value)
    if count < 1:
        raise ValueError("less than one makes no sale")
    return count


_CHANGES: dict[str, Callable[[Sale, str], Changed]] = {
    "leave": _leave,
    "store-dies": _store_dies,
    "rate": _rate,
    "burst": _burst,
    "active": _active,
    "session": _session,
    "maximum": _maximum,
    "visitors": _visitors,
    "ghosts": _ghosts,
    "ghosts-seen": _ghosts_seen,
    "invited": _invited,
    "stay": _stay,
    "stock": _stock,
}

"""Forward-auth: an edge asks "may this request go to the shop?" and forwards it itself when the answer is yes.

The edges disagree on what yes and no look like, and on where the request is named, so the edge names its dialect:

========  =========  ================================  =====================================================
dialect   yes        no                                why
========  =========  ================================  =====================================================
nginx     200        401, empty                        auth_request knows 2xx, 401 and 403; anything else is a 500.
                                                       `error_page 401` then proxies the request to the gate, so
                                                       nothing is asked of the store here: nobody joins twice
caddy     200        the page, or 307 with the cookie  Set-Cookie of a 2xx answer is dropped
traefik   200        the page                          Set-Cookie passes if `addAuthCookiesToResponse` names it
envoy     200 only   the page, never 2xx nor 5xx       with `failure_mode_allow`, a 5xx lets the request through
========  =========  ================================  =====================================================

=============  =====================================================
dialect        the request that is asked about
=============  =====================================================
nginx          ``X-Original-URI`` and ``X-Original-Method``
caddy,traefik  ``X-Forwarded-Uri`` and ``X-Forwarded-Method``
envoy          the path behind ``/__gate/authorize/envoy``, and the question's own method
=============  =====================================================

Every edge passes on the headers it does not set. So the other family is a visitor's word: never read, and a question in which
the two differ is refused. Who may ask is in ``edge.ask``; a CDN or proxy that is merely trusted passes on everybody's requests.
"""

from dataclasses import replace
from typing import Literal, Protocol, cast, get_args
from urllib.parse import parse_qsl

from gate.core.answer import Answer, Fields
from gate.core.cookies import without_our_cookies
from gate.core.decide import decide
from gate.core.decision import Decision, Told
from gate.core.facts import QUESTIONS, Refusal
from gate.core.path import MalformedTarget, canonical
from gate.core.settings import Settings
from gate.core.snapshot import Snapshot
from gate.core.visit import Form, Visit
from gate.core.words import Outcome, Reason

Dialect = Literal["nginx", "caddy", "traefik", "envoy"]
ENVOY = QUESTIONS + b"/envoy"
_ORIGINAL = (b"x-original-uri", b"x-original-method")
_FORWARDED = (b"x-forwarded-uri", b"x-forwarded-method")


class Engine(Protocol):
    settings: Settings
    snapshot: Snapshot

    async def consider(self, visit: Visit) -> Decision: ...
    def answer(self, visit: Visit, decision: Decision) -> Answer: ...
    def refuse(self, refusal: Refusal, wants: Form = "html", languages: tuple[str, ...] = ()) -> Answer: ...
    def headers_for_origin(self, visit: Visit, decision: Decision) -> Fields: ...
    def headers_for_visitor(self, visit: Visit, decision: Decision) -> Fields: ...


async def authorize(visit: Visit, engine: Engine) -> Answer:
    """The answer to an edge. ``visit`` is the edge's own request to ``/__gate/authorize``."""
    dialect = dialect_of(visit)
    try:
        asked = request_of(visit)
    except Refusal as refusal:
        return denied(dialect, engine.refuse(refusal, visit.accepts))
    if dialect == "nginx" and (needs_the_store(asked, engine) or is_respelled(visit, asked)):
        return Answer(401, ((b"cache-control", b"no-store"),))
    if is_respelled(visit, asked):
        return Answer(307, ((b"location", location_of(asked)), (b"cache-control", b"no-store")))
    decision = await engine.consider(asked)
    if decision.outcome is Outcome.OWN:
        return allowed(dialect, asked, decision, ())
    if decision.outcome is not Outcome.FORWARD:
        return denied(dialect, engine.answer(asked, decision))
    added = engine.headers_for_visitor(asked, decision)
    return allowed(dialect, asked, decision, engine.headers_for_origin(asked, decision) + added)


def dialect_of(visit: Visit) -> Dialect:
    """``?dialect=``, or Envoy's path; ``caddy`` (plain forward-auth) when there is none or one we do not know."""
    if visit.path.raw.startswith(ENVOY):
        return "envoy"
    named = dict(parse_qsl(visit.query.decode("latin-1"), max_num_fields=20)).get("dialect", "") if visit.query else ""
    return cast(Dialect, named) if named in get_args(Dialect) else "caddy"


def request_of(visit: Visit) -> Visit:
    """The visitor's request that the edge asks about. Raises :class:`Refusal`.

    Only an edge that the config names may ask: for anybody else this endpoint would be an oracle, and a way to spend places.
    """
    if not visit.asks:
        raise Refusal(403, Reason.ASKER, "only an edge that `edge.ask` names may ask")
    target, method = named_request(visit)
    for uri, verb in (_ORIGINAL, _FORWARDED):
        if _one(visit, uri) not in (b"", target) or _one(visit, verb) not in (b"", method):
            raise Refusal(403, Reason.MALFORMED, "two requests are named: X-Original-* and X-Forwarded-* differ")
    if not method.isalpha() or len(method) > 32:
        raise Refusal(400, Reason.MALFORMED, "the method that the edge names is not one")
    try:
        path, query = canonical(target)
    except MalformedTarget as error:
        raise Refusal(403, Reason.MALFORMED, str(error)) from error
    if path.widened.startswith(QUESTIONS.decode()):
        raise Refusal(403, Reason.ASKER, "this endpoint is not for visitors")
    return replace(visit, method=method.decode("latin-1"), path=path, query=query, asks=False)


def named_request(visit: Visit) -> tuple[bytes, bytes]:
    """Target and method, from where this edge puts them and from nowhere else. Raises :class:`Refusal`."""
    if visit.path.raw.startswith(ENVOY):
        rest = visit.path.raw[len(ENVOY) :]
        if rest.startswith(b"//"):
            raise Refusal(403, Reason.MALFORMED, "the path begins with two slashes")
        target = (rest if rest.startswith(b"/") else b"/" + rest) + (b"?" + visit.query if visit.query else b"")
        return target, visit.method.encode()
    uri, verb = _ORIGINAL if dialect_of(visit) == "nginx" else _FORWARDED
    target, method = _one(visit, uri), _one(visit, verb)
    if not target or not method:
        missing = (uri if not target else verb).decode().title()
        raise Refusal(400, Reason.MALFORMED, f"the edge names no request: {missing} is missing")
    return target, method


def _one(visit: Visit, name: bytes) -> bytes:
    """The value of this header, b"" without it; twice is once too often. Raises :class:`Refusal`."""
    values = [value for key, value in visit.headers if key == name]
    if len(values) > 1:
        raise Refusal(400, Reason.MALFORMED, "the edge names two requests")
    return values[0] if values else b""


def is_respelled(visit: Visit, asked: Visit) -> bool:
    """Would the edge forward another spelling than the one that was decided on? (``//host/checkout``)"""
    return not visit.path.raw.startswith(ENVOY) and not named_request(visit)[0].startswith(location_of(asked))


def location_of(asked: Visit) -> bytes:
    """The request's own path and query: one slash, so never another host."""
    return asked.path.raw + (b"?" + asked.query if asked.query else b"")


def needs_the_store(asked: Visit, engine: Engine) -> bool:
    """Would this request join the line, or claim a pass? Per-client limits are left out; they cost no place."""
    told = Told(quotas={limit.name: None for limit in engine.settings.limits})
    return not isinstance(decide(asked, engine.snapshot, engine.settings, told), Decision)


def allowed(dialect: Dialect, asked: Visit, decision: Decision, added: Fields) -> Answer:
    """Yes. ``added``: what the edge copies to the origin (``Gate-*``) and to the visitor (at most one cookie)."""
    cookies = [field for field in added if field[0] == b"set-cookie"]
    if dialect == "caddy" and cookies and (decision.granted is not None or asked.method in ("GET", "HEAD")):
        # The cookie would be lost on a 200: the visitor takes it along and asks again for the same.
        return Answer(307, ((b"location", location_of(asked)), (b"cache-control", b"no-store, private"), *cookies))
    kept = [field for field in added if field[0].startswith(b"gate-")]
    # The Cookie field without tickets and passes, which are nothing to the origin. nginx and Caddy can rename a header that
    # they copy into the request; Traefik and Envoy cannot.
    crumbs = [without_our_cookies(value) for name, value in asked.headers if name == b"cookie"]
    renamed = b"cookie" if dialect in ("traefik", "envoy") else b"gate-cookie"
    kept.append((renamed, b"; ".join(crumb for crumb in crumbs if crumb)))
    # nginx joins several Set-Cookie fields of a subrequest into one broken line: the pass is the first.
    return Answer(200, (*kept, *cookies[:1], (b"cache-control", b"no-store")))


def denied(dialect: Dialect, answer: Answer) -> Answer:
    """No, in a status that this edge takes for no."""
    if dialect == "nginx":
        said = tuple(field for field in answer.headers if field[0] == b"gate-decision")
        return Answer(403 if answer.status in (400, 403) else 401, (*said, (b"cache-control", b"no-store")))
    if dialect == "envoy" and (answer.status < 300 or answer.status >= 500):
        return Answer(429, answer.headers, answer.body)
    if answer.status < 300:  # a room may answer 200 or 202 while one waits; an edge would take it for yes
        return Answer(503, answer.headers, answer.body)
    return answer

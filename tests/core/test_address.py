"""Whose word about the visitor's address is taken (tests/corpora/addresses)."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import edges
from gate.core.address import Trust, UnknownEdge, parse_address, visitor_address
from gate.core.settings import Edge

CORPUS = Path(__file__).parent.parent / "corpora" / "addresses"
TRUST = edges.trust_for(Edge(trust=["10.0.0.0/8", "2001:db8:e::/48", "cloudflare", "fastly"]))


def cases():
    for line in (CORPUS / "spoofing.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            given_, _, expected = line.partition(" -> ")
            peer, *fields = (part.strip() for part in given_.split(" | "))
            headers = tuple((n.encode(), v.strip().encode()) for n, _, v in (field.partition(":") for field in fields))
            yield pytest.param(None if peer == "-" else peer, headers, expected, id=given_)


@pytest.mark.parametrize(("peer", "headers", "expected"), list(cases()))
def test_corpus(peer, headers, expected):
    address, scheme, teller, hops = visitor_address(peer, headers, TRUST)
    assert f"{address or '-'} {scheme or '-'} {','.join(map(str, hops)) or '-'}" == expected
    assert bool(hops) <= (teller is not None)


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("X-Real-IP", "203.0.113.7", "203.0.113.7"),
        ("X-Real-IP", "nonsense", "10.0.0.1"),
        ("Forwarded", "for=198.51.100.66, for=203.0.113.7;proto=https", "203.0.113.7"),
        ("Forwarded", 'for=198.51.100.66, for="[2001:db8:f::9]:443"', "2001:db8:f::9"),
        ("Forwarded", "for=203.0.113.7, for=_hidden", "10.0.0.1"),
        ("Forwarded", "proto=https", "10.0.0.1"),
        ("Forwarded", 'for="open, for=203.0.113.7', "203.0.113.7"),
    ],
)
def test_the_header_that_the_config_names(header, value, expected):
    trust = edges.trust_for(Edge(trust=["10.0.0.0/8"], header=header))
    headers = ((header.lower().encode(), value.encode()), (b"x-forwarded-for", b"198.51.100.99"))
    assert str(visitor_address("10.0.0.1", headers, trust).address) == expected


def test_a_header_that_the_config_names_is_not_replaced_by_another():
    trust = edges.trust_for(Edge(trust=["10.0.0.0/8"], header="X-Real-IP"))
    assert str(visitor_address("10.0.0.1", ((b"x-forwarded-for", b"198.51.100.66"),), trust).address) == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7:443", "203.0.113.7"),
        ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),  # CloudFront-Viewer-Address
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_parse_address(text, expected):
    assert parse_address(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text", ["", " ", "-", "1.2.3", "1.2.3.4.5", "01.2.3.4", "[::1", "::1]", "1.2.3.4:", "1.2.3.4:999999", "a:1"]
)
def test_what_is_no_address(text):
    assert parse_address(text) is None


@given(st.text(max_size=50))
def test_parse_address_never_fails(text):
    parse_address(text)


def test_a_preset_without_networks_says_what_to_do(tmp_path):
    with pytest.raises(UnknownEdge, match="gate edge refresh cloudfront"):
        edges.trust_for(Edge(trust=["cloudfront"]), tmp_path)
    with pytest.raises(UnknownEdge, match=r"write the networks") as caught:
        edges.trust_for(Edge(trust=["akamai"]), tmp_path)
    assert "refresh" not in str(caught.value)


def test_who_may_ask_is_named_and_trusted():
    trust = edges.trust_for(Edge(trust=["10.0.0.0/8", "cloudflare"], ask=["10.0.0.5", "10.1.0.0/16"]))
    peers = ("10.0.0.5", "::ffff:10.0.0.5", "10.1.2.3", "10.0.0.6", "104.16.1.1", None)
    assert [peer for peer in peers if trust.may_ask(peer)] == ["10.0.0.5", "::ffff:10.0.0.5", "10.1.2.3"]
    assert not TRUST.may_ask("10.0.0.5")  # the default: nobody


@pytest.mark.parametrize("asking", ["104.16.1.1", "203.0.113.7", "10.0.0.0/7", "2001:db8::1"])
def test_who_may_ask_has_to_be_trusted_by_its_network(asking):
    with pytest.raises(ValueError, match="in no network of `trust`"):
        Edge(trust=["10.0.0.0/8", "cloudflare"], ask=[asking])


def test_everybody_is_nobody_to_trust():
    presets = edges.presets()
    with pytest.raises(UnknownEdge, match="everybody"):
        Trust.of(Edge.model_construct(trust=["0.0.0.0/0"], header=None), presets)
    with pytest.raises(UnknownEdge, match="no preset"):
        Trust.of(Edge.model_construct(trust=["clodflare"], header=None), presets)


@given(st.ip_addresses())
def test_the_tables_agree_with_a_plain_search(address):
    networks = [network for name in ("cloudflare", "fastly") for network in edges.shipped(name).networks]
    networks += [ip_network("10.0.0.0/8"), ip_network("2001:db8:e::/48")]
    assert (TRUST.teller(address) is not None) == any(address in network for network in networks)


@pytest.mark.parametrize("name", sorted(edges.CDNS))
def test_both_ends_of_every_network_are_found(name):
    listed = edges.shipped(name)
    trust = Trust.of(Edge(trust=[str(network) for network in listed.networks]), edges.presets())
    for network in listed.networks:
        assert trust.teller(network[0]) is not None
        assert trust.teller(network[-1]) is not None

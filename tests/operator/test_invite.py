"""gate invite: links signed with the key ring of the state directory."""

import json
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gate import keys
from gate.core.credentials import InvalidCredential
from gate.core.invitations import Invitation, read_invitation
from tests.operator.test_commands import Result, run

CONFIG = """\
state: {state}
{hosts}
origin: {{servers: ["http://127.0.0.1:9"]}}
rooms:
  drop:
    match: [POST /drop/buy, /drop/**]
    rate: 10/second
    groups: {{members: {{share: 30%}}, press: {{share: 5%}}}}
  plain: {{match: /plain/**, rate: 10/second}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.format(state=tmp_path / "state", hosts="hosts: [shop.example]"))
    keys.ensure_keyring(tmp_path / "state")
    return path


def read(config: Path, url: str) -> Invitation:
    token = parse_qs(urlsplit(url).query)["token"][0]
    return read_invitation(token, keys.load(config.parent / "state").ring(time.time()), "drop", time.time())


def test_a_link_leads_to_what_the_room_guards(config: Path) -> None:
    done = run(config, "invite", "drop", "members")
    assert done.code == 0
    url = urlsplit(done.out.strip())
    assert (url.scheme, url.netloc, url.path) == ("https", "shop.example", "/__gate/rooms/drop/invitation")
    assert parse_qs(url.query)["to"] == ["/drop"]
    found = read(config, done.out.strip())
    assert (found.room, found.group, found.uses) == ("drop", "members", 1)
    assert found.expires == pytest.approx(time.time() + 7 * 86400, abs=60)
    assert "for 1 visitor each" in done.err


def test_many_links_each_with_its_own_uses(config: Path) -> None:
    done = run(
        config, "invite", "drop", "press", "--count", "50", "--uses", "3", "--for", "12h", "--to", "/drop/a?b=c&d", "--json"
    )
    document = json.loads(done.out)
    assert (document["room"], document["group"]) == ("drop", "press")
    assert len({row["id"] for row in document["invitations"]}) == 50
    for row in document["invitations"]:
        found = read(config, row["url"])
        assert (found.group, found.uses, found.id, found.expires) == ("press", 3, row["id"], row["expires"])
        assert parse_qs(urlsplit(row["url"]).query)["to"] == ["/drop/a?b=c&d"]
    assert len(run(config, "invite", "drop", "press", "--count", "7").out.splitlines()) == 7
    assert "any number of visitors" in run(config, "invite", "drop", "press", "--uses", "0").err


def test_without_hosts_the_links_are_paths_and_it_says_so(config: Path) -> None:
    config.write_text(CONFIG.format(state=config.parent / "state", hosts=""))
    done = run(config, "invite", "drop", "members")
    assert done.out.startswith("/__gate/rooms/drop/invitation?token=")
    assert "`hosts`" in done.err


def test_a_link_of_another_gate_is_none(config: Path, tmp_path: Path) -> None:
    url = run(config, "invite", "drop", "members").out.strip()
    keys.rotate(tmp_path / "state", compromised=True)
    with pytest.raises(InvalidCredential):
        read(config, url)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nope", "members"), 1, "There is no room 'nope'; the config has: drop, plain."),
        (("drop", "nope"), 1, "The room 'drop' has no group 'nope'; it has: members, press."),
        (("plain", "members"), 1, "The room 'plain' has no groups; give it some"),
        (("drop", "members", "--for", "soon"), 2, "is not a duration"),
        (("drop", "members", "--for", "35d"), 2, "35d is longer than a key verifies; write 34d or less"),
        (("drop", "members", "--to", "https://evil.example/"), 2, "is not a path of the shop"),
        (("drop", "members", "--to", "//evil.example/"), 2, "is not a path of the shop"),
        (("drop", "members", "--count", "0"), 2, ""),
        (("drop", "members", "--uses", "-1"), 2, ""),
    ],
    ids=str,
)
def test_mistakes(config: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = run(config, "invite", *words)
    assert (done.code, done.out) == (code, "")
    assert said in " ".join(done.err.replace("│", " ").split())


def test_before_the_first_start_there_is_no_key(config: Path) -> None:
    (config.parent / "state" / keys.FILE).unlink()
    done: Result = run(config, "invite", "drop", "members")
    assert done.code == 1
    assert "makes one when it first starts" in done.err

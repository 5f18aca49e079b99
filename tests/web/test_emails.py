"""The list of addresses: what counts as one, that it survives a kill, and that its export harms nobody."""

import asyncio
import csv
import io
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.web.emails import MAX_PENDING, BadAddress, Emails, NotKept, Row, parse_address, write_csv


@pytest.fixture
def emails(tmp_path):
    made = Emails(tmp_path / "state" / "emails.db", clock=lambda: 1_800_000_000.0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a@b.example", "a@b.example"),
        (" Ann.O'Neil+shoes@Mail.Example.COM ", "Ann.O'Neil+shoes@mail.example.com"),
        ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b",
        "a@b.",
        "a@.b.example",
        "a@b..example",
        ".a@b.example",
        "a.@b.example",
        "a..b@c.example",
        "a b@c.example",
        "a@b.example\n",
        "a@b.example\r\nBcc: x@y.example",
        "a@b.example,x@y.example",
        "<a@b.example>",
        '"a"@b.example',
        "a@-b.example",
        "a@b-.example",
        "a@1.2.3.4",
        "a@[1.2.3.4]",
        "é@b.example",
        "a@b.example\x00",
        "a@b.exa\tmple",
        "a" * 65 + "@b.example",
        "a@" + "b" * 64 + ".example",
        "a@" + "b." * 150 + "example",
        "a(comment)@b.example",
    ],
)
def test_what_is_no_address(text):
    with pytest.raises(BadAddress):
        parse_address(text)


@given(st.text(max_size=80))
def test_an_accepted_address_can_end_no_header_and_no_line(text):
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert address.isascii()
    assert address.isprintable()
    assert not set(address) & set(' ,;:<>()[]"\\')
    assert address.count("@") == 1


def test_each_is_kept_once_whatever_its_case(emails):
    assert emails.add("Ann@b.example", "de") is True
    assert emails.add("ann@b.example", "en") is False
    assert emails.add("bob@b.example") is True
    assert list(emails.rows()) == [
        Row("Ann@b.example", "2027-01-15T08:00:00Z", 2, "de"),
        Row("bob@b.example", "2027-01-15T08:00:00Z", 1, ""),
    ]


def test_only_its_owner_reads_the_file(emails, tmp_path):
    emails.add("a@b.example")
    for path in (tmp_path / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_it_is_written_through_to_the_disk(emails, tmp_path):
    emails.add("a@b.example")
    connection = emails._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_many_at_once_share_the_disk(emails):
    news = await asyncio.gather(*(emails.keep(f"a{n % 150}@b.example") for n in range(300)))
    assert sum(news) == 150
    assert sum(row.times for row in emails.rows()) == 300


async def test_one_who_leaves_takes_nobody_along(emails):
    tasks = [asyncio.create_task(emails.keep(f"a{n}@b.example")) for n in range(20)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for n, result in enumerate(done) if n != 3] == [True] * 19


async def test_more_than_the_disk_can_take_are_told_so(emails):
    tasks = [asyncio.create_task(emails.keep(f"a{n}@b.example")) for n in range(MAX_PENDING + 1)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, NotKept) for result in done) == 1
    assert await emails.keep("later@b.example")


def test_several_workers_write_to_one_file(emails, tmp_path):
    other = Emails(tmp_path / "state" / "emails.db", clock=lambda: 1_800_000_001.0)
    assert emails.add("a@b.example")
    assert not other.add("A@b.example")
    assert other.add("c@b.example")
    other.close()
    assert [row.times for row in emails.rows()] == [2, 1]


def test_a_disk_that_is_full_is_told_and_mended(emails, tmp_path):
    emails.add("a@b.example")
    pages = emails._connection.execute("PRAGMA page_count").fetchone()[0]
    emails._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotKept, match="full"):
        [emails.add(f"someone-with-a-long-name-{n}@b.example") for n in range(500)]
    assert emails.add("after@b.example"), "a fresh connection has no such limit"


def test_a_file_that_cannot_be_opened(tmp_path):
    (tmp_path / "emails.db").mkdir()
    emails = Emails(tmp_path / "emails.db")
    with pytest.raises(NotKept):
        emails.add("a@b.example")
    with pytest.raises(NotKept):
        list(emails.rows())
    emails.close()


def test_nothing_to_export_before_the_first(tmp_path):
    emails = Emails(tmp_path / "emails.db")
    assert list(emails.rows()) == []
    assert not (tmp_path / "emails.db").exists(), "reading makes no file"
    emails.close()


@pytest.mark.slow
def test_what_was_thanked_for_outlives_a_kill(tmp_path):
    """A real process is killed in the middle of adding; every address it had reported is there."""
    path = tmp_path / "emails.db"
    script = textwrap.dedent(
        f"""
        import asyncio
        from pathlib import Path
        from gate.web.emails import Emails

        async def main():
            emails = Emails(Path({str(path)!r}))
            async def one(n):
                await emails.keep(f"a{{n}}@b.example")
                print(n, flush=True)
            for start in range(0, 100000, 8):
                await asyncio.gather(*(one(n) for n in range(start, start + 8)))

        asyncio.run(main())
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    thanked = [process.stdout.readline().strip() for _ in range(60)]
    process.kill()
    thanked += process.stdout.read().split()
    process.stdout.close()
    process.wait()
    emails = Emails(path)
    kept = {row.address for row in emails.rows()}
    emails.close()
    assert len(thanked) >= 60
    assert {f"a{n}@b.example" for n in thanked if n} <= kept
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_export_is_a_formula(first):
    file = io.StringIO(newline="")
    assert write_csv([Row(f"{first}cmd|calc@b.example", "2027-01-15T08:00:00Z", 1, "en")], file) == 1
    heading, row = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert heading == ["address", "asked", "times", "language", "confirmed"]
    assert row == [f"'{first}cmd|calc@b.example", "2027-01-15T08:00:00Z", "1", "en", "no"]

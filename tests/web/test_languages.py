"""Catalogues are complete, compiled and in step with the templates; visitors get the language they ask for."""

import re
from io import BytesIO

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from gate import resources
from gate.core.wait import Span
from gate.web.languages import Languages, UnknownLanguage, available, script_json

FOLDER = resources.static("locale")
TAGS = ["en", "de", "ar"]


def po(tag: str):
    with (FOLDER / tag / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=tag)


def mo(tag: str):
    return read_mo(BytesIO((FOLDER / tag / "LC_MESSAGES" / "messages.mo").read_bytes()))


def messages(catalogue) -> dict:
    def plain(value):
        return tuple(value) if isinstance(value, list) else value

    return {plain(message.id): plain(message.string) for message in catalogue if message.id}


@pytest.fixture(scope="module")
def wanted() -> set:
    """Every message in templates and sources, extracted afresh."""
    static, web = resources.static("page.html").parent, resources.static("x").parents[1] / "gate" / "web"
    found = set()
    for folder, methods in (
        (static, [("console.html", "ignore"), ("**.html", "jinja2")]),
        (web, [("sentences.py", "python"), ("languages.py", "python")]),
    ):
        options = {"**.html": {"trimmed": "true", "silent": "false"}}
        for _, _, message, _, _ in extract_from_dir(folder, methods, options):
            found.add(message)
    return found


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages(TAGS, FOLDER)


@pytest.mark.parametrize("tag", TAGS)
def test_every_sentence_is_translated_and_none_is_left_over(tag, wanted):
    catalogue = po(tag)
    assert set(messages(catalogue)) == wanted
    assert not [message.id for message in catalogue if message.id and message.fuzzy]
    for message in catalogue:
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(strings), message.id
        if message.id and tag != "en":
            assert message.string != message.id


@pytest.mark.parametrize("tag", TAGS)
def test_the_compiled_catalogue_is_in_step(tag):
    assert messages(mo(tag)) == messages(po(tag)), "run: pybabel compile -d static/locale"
    assert mo(tag).plural_forms == po(tag).plural_forms


@pytest.mark.parametrize("tag", TAGS)
def test_translations_keep_the_gaps(tag):
    for message in po(tag):
        if not message.id:
            continue
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        gaps = set(re.findall(r"\{\w+\}", " ".join(ids)))
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in strings:
            assert set(re.findall(r"\{\w+\}", text)) <= gaps, text
        if not isinstance(message.id, tuple):
            assert set(re.findall(r"\{\w+\}", strings[0])) == gaps
        assert not re.search(r"[<>&]", " ".join(strings)), "catalogues hold text, not markup"


def test_all_that_is_there_is_offered_by_default():
    from gate.core.settings import Brand

    assert sorted(Brand().languages) == available(FOLDER) == sorted(TAGS)


@pytest.mark.parametrize(
    ("preferred", "tag"),
    [
        ((), "en"),
        (("de",), "de"),
        (("de-CH", "en"), "de"),
        (("fr", "ar-EG"), "ar"),
        (("fr", "ja"), "en"),
        (("DE-at",), "de"),
        (("*",), "en"),
        (("zh-Hant-TW", "de-1996"), "de"),
        (("x" * 500,), "en"),
        (("", "-", "--"), "en"),
        (("../../etc",), "en"),
    ],
)
def test_negotiation(languages, preferred, tag):
    assert languages.pick(preferred).tag == tag


def test_the_first_configured_language_is_the_default():
    assert Languages(["de", "en"], FOLDER).pick(("ja",)).tag == "de"


@pytest.mark.parametrize("tag", ["fr", "xx", "../en", ""])
def test_a_language_without_a_catalogue(tag):
    with pytest.raises(UnknownLanguage, match="there are ar, de, en"):
        Languages(["en", tag], FOLDER)


def test_direction(languages):
    assert {tag: languages.known[tag].direction for tag in TAGS} == {"en": "ltr", "de": "ltr", "ar": "rtl"}


def test_plurals_and_numbers(languages):
    en, de, ar = (languages.known[tag] for tag in TAGS)
    assert [en.ahead(n) for n in (0, 1, 1234567)] == [
        "You are next",
        "1 person is ahead of you",
        "1,234,567 people are ahead of you",
    ]
    assert de.ahead(12345) == "12.345 Personen sind vor Ihnen"
    assert [ar.ahead(n) for n in (1, 2, 5, 11, 100, 103)] == [
        "شخص واحد أمامك", "شخصان أمامك", "5 أشخاص أمامك", "11 شخصًا أمامك", "100 شخص أمامك", "103 أشخاص أمامك",
    ]  # fmt: skip
    assert en.span(Span(0, 1, False)) == "less than a minute"
    assert en.span(Span(5, 8, False)) == "5 to 8 minutes"
    assert en.span(Span(0, 2, True)) == "less than 2 hours"
    assert de.span(Span(1, 2, True)) == "1 bis 2 Stunden"
    assert ar.span(Span(1, 2, False)) == "من دقيقة إلى دقيقتين"


@pytest.mark.parametrize("tag", TAGS)
def test_every_plural_form_is_found(languages, tag):
    forms = languages.known[tag].all_forms("{n} person is ahead of you", "{n} people are ahead of you")
    assert len(forms) == languages.known[tag].forms
    assert all(forms)


def test_json_for_scripts_cannot_end_the_script():
    text = script_json({"name": "</script><!--\u2028"})
    assert "<" not in text
    assert "\u2028" not in text

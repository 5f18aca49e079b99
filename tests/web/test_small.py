"""What is made small still does the same; that the pages work is shown by a browser (``browser/``)."""

import json
import shutil
import subprocess

import pytest

from gate.web.small import short_names, small_css, small_script

SCRIPT = """
(function () {
  // a comment; with "quotes"
  var counted = 0, label = "counted = {n}", options = { near: 2, far: [1, 2] };  // another
  function add(value, times) { var sum = value * times + options.near, text = "in"; return sum + text.length; }
  function each(list, work) { for (var i = 0, most = list.length; i < most; i++) work(list[i]); /* all */ }
  function form(n) { return n===0 ? "none" : n % 10 === 1 ? "one" : "many"; }
  each([1, 2, 3], function (value) { counted += add(value, 2) - -value; });
  try { null.near; } catch (error) { counted++; }
  var late = (function again(rounds) { return rounds > 3 ? rounds : again(rounds + 1); })(0);
  label = label + "a/b // no comment".replace(/\\B(?=m)/g, counted);
  console.log(JSON.stringify([counted, label, form(0), form(21), form(5), late]));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_small_script_does_what_the_long_one_did():
    def run(code: str) -> object:
        return json.loads(subprocess.run(["node", "-e", code], capture_output=True, check=True, text=True, timeout=60).stdout)

    small = small_script(short_names(SCRIPT))
    assert run(small) == run(SCRIPT)
    assert len(small) < 0.7 * len(SCRIPT)
    assert "counted" not in small.replace('"counted = {n}"', "")


def test_names_that_meet_never_become_the_same():
    one, two = "function one(p, q) { return a1 + p + q; }", "function two(r) { return b1 + r + one(r, 1); }"
    small = short_names(f"(function () {{ var a1, b1; {one} {two} }})();")
    assert len({*"".join(sign if sign.isalpha() else " " for sign in small).split()} - {"function", "var", "return"}) == 6
    assert small.count("function") == 3


def test_a_key_that_is_a_variable_too_is_refused():
    with pytest.raises(ValueError, match="keys of objects: near"):
        short_names("(function () { var near = 2, poll = { near: near }; })();")


def test_css():
    css = ":root { --ground: #fff; --line: #000; }\n/* why */ .card > p { color: var(--ground); margin: 0 1px; }"
    assert small_css(css) == ":root{--a:#fff;--b:#000}.card>p{color:var(--a);margin:0 1px}"

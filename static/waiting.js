// The page lets its visitor in by itself. ES5, so that old phones can run it. What it asks most is the room's shared status
// document, which is the same for everybody and may come from a cache; it works out its own place as gate/core/wait.py does.
(function () {
  var heads = {{ said.heads }}, whys = {{ said.whys }}, lost = {{ said.lost }}, minutesLess = {{ words.underMin }};
  var win = window, doc = document, floor = Math.floor, up = Math.ceil, most = Math.max, least = Math.min, chance = Math.random, now = Date.now;
  var page = el("gate"), room = "/__gate/rooms/" + fact("room") + "/", again = fact("again"), state = fact("state");
  var number = +fact("number"), turn = +fact("turn"), epoch = +fact("epoch"), shown = fact("ahead") ? +fact("ahead") : -1;
  var poll = { near: 2, far: 2.5, share: 0.15, jitter: 0.3, hidden: 60 };
  var due = now() + 1000 * least(fact("in"), poll.far + chance()), last = now(), seen = last, spokenAt = last;
  var first = shown, cause = text("why"), word = text("word"), failed = 0, spoken, busy, over, rung, wanted, audio, pace, told, stock, flow;
  var Sound = win.AudioContext || win.webkitAudioContext, Note = win.isSecureContext && win.Notification;
  // once, soon, it asks for itself, which tells the gate that somebody is here; a crowd spreads that
  var hello = epoch ? last + 2000 + least(30000, most(6000, number)) * chance() : Infinity;

  function fact(name) { return page.getAttribute("data-" + name) || ""; }
  function el(id) { return doc.getElementById(id); }
  function text(id) { return el(id).textContent; }
  function show(id, text) { var it = el(id); if (it.textContent !== text) it.textContent = text; it.hidden = !text; }
  function grouped(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, {{ group }}); }
  function put(text, n) { return text.replace("{n}", grouped(n)); }
  function plural(n) { return +({{ plural }}); }
  // a form like an earlier one is that one's place in the list
  function form(list, n) { var text = list[plural(n)]; return list[text] || text; }

  function span(low, high) {
    var hours = high > 5400, top = most(1, up(high / 60));
    var step = hours || top <= 20 ? 1 : top <= 60 ? 5 : 10, unit = hours ? 3600 : 60 * step;
    low = floor(low / unit) * step;
    top = most(up(high / unit) * step, low + step);
    return form(hours ? (low ? {{ words.hour }} : {{ words.underHour }}) : low ? {{ words.min }} : minutesLess, top)
      .replace("{low}", low).replace("{high}", top);
  }

  // the sentence with its one number large, or all of it where there is none
  function large(id, parts, value) {
    var strong = doc.createElement(parts[1] === undefined ? "strong" : "b"), it = el(id);
    show(id, parts[0] || " ");
    if (parts[1] === undefined) it.textContent = "";
    strong.textContent = parts[1] === undefined ? parts[0] : value;
    it.appendChild(strong);
    it.appendChild(doc.createTextNode(parts[1] || ""));
  }

  function draw(ahead, wait) {
    large("place", (ahead ? form({{ words.ahead }}, ahead) : {{ words.next }}).split("{n}"), grouped(ahead));
    show("wait", wait ? {{ said.wait }}.replace("{span}", span(wait[0], wait[1])) : "");
    if (first > 0 && state !== "early") { el("bar").hidden = false; el("bar").value = 100 * (1 - ahead / first); }
  }

  // To a screen reader: at once when something happened, otherwise at most every half minute and only what has changed.
  function say(text, urgent) {
    if (text === spoken || (!urgent && now() - spokenAt < 30000)) return;
    spoken = text; spokenAt = now(); show("say", text);
  }

  function become(next, head, why) {
    var changed = next !== state, lined = next === "line";
    page.setAttribute("data-state", state = next);
    head = head || heads[next];
    if (head) show("head", head);
    if (why || changed) show("why", cause = why || whys[next]);
    el("card").hidden = next !== "early" && (shown < 0 || !/^(line|hold|store)$/.test(next));
    if (!lined) show("wait", "");
{% if opens %}
    el("count").hidden = el("time").hidden = next !== "early";
{% endif %}
    doc.title = (lined && shown > 0 ? "(" + grouped(shown) + ") " : "") + text("head") + " · " + {{ said.name }};
    if (changed) say(text("head") + ". " + text("why"), true);
  }

  // The wait is smoothed, and a longer one is shown only when it is much longer, so that it does not flicker. What the operator
  // orders is no flicker: another rate counts at once.
  function place(status) {
    var ahead = nearer(most(0, turn - 1 - status.serving + status.at_door)), rates = status.pace, i, seconds;
    if (flow !== (flow = status.rate.amount / status.rate.period)) told = pace = 0;
    told = rates && (told || []);
    for (i = 0; rates && i < 2; i++) {
      if (pace) rates[i] = pace[i] + 0.3 * (rates[i] - pace[i]);
      seconds = most(0, ahead + 1 - (i ? 0 : status.free || 0)) * rates[i];
      if (!(seconds > told[i] && seconds < 1.25 * told[i])) told[i] = seconds;
    }
    pace = rates;
    draw(ahead, told);
  }

  // the place shown never grows
  function nearer(ahead) {
    shown = shown < 0 ? ahead : least(shown, ahead);
    if (first < 0) first = shown;
    return shown;
  }

  function more(text) { show("more", text + (stock < 0 || shown < 0 ? "" : " " + (shown > stock ? {{ said.few }} : put({{ said.left }}, stock)))); }

  function later(seconds) { due = now() + 1000 * seconds * (1 + poll.jitter * chance()); }
  function rest() {
    var longest = doc.hidden || state === "over" ? poll.hidden : poll.far;
    later(told ? least(longest, most(poll.near, told[0] * poll.share)) : longest);
  }

  function ask(method, url, done) {
    var request = new XMLHttpRequest();
    busy = true; last = now();
    request.open(method, room + url);
    request.setRequestHeader("Accept", "application/json");
    // caches for many may answer, this browser's own may not: what it would give is what is shown already
    request.setRequestHeader("Cache-Control", "max-age=0");
    request.timeout = 10000;
    request.onloadend = safely(function () {
      var answer = busy = false;
      try { answer = JSON.parse(request.responseText); } catch (e) { /* not from the gate */ }
      if (request.status === 404) return leave();
      if (!answer || !answer.state) {
        later(least(60, 4 * Math.pow(2, failed++)));
        if (failed > 3) { show("why", lost); say(lost, true); }
        return;
      }
      if (failed > 3) show("why", cause);
      failed = 0;
      done(answer);
    });
    request.send();
  }

  function look(status) {
    var next = status.state, news = (status.said || {})["{{ lang }}"] || [];
    poll = status.poll; stock = status.left === null ? -1 : status.left;
    show("word", status.message);
    if (status.message !== word) say(word = status.message, true);
    if (next === "open") return leave();
    if (!epoch && (next === "line" || next === "early")) return status.full && state === "full" ? rest() : leave();
    if (next !== "line") {
      told = pace = 0;
      // before the opening, what is said to all is said to those with a number: a draw is none of a group's
      become(next, news[0], number || !status.now ? news[1] : 0);
{% if opens %}
      if (next === "early") early(status);
{% endif %}
      return rest();
    }
    // a place by time or in a group: only the gate knows whose turn it is
    if (!number) return doc.hidden ? ask("GET", "ticket", mine) : knock();
{% if draws %}
    if (status.draw && !(turn && proven)) return drawn(status);
{% endif %}
    stand(status);
  }

  function stand(status) {
    // numbers go on from epoch to epoch; what was forgotten goes before all that is new
    if (epoch <= status.epoch) {
      if (turn <= status.serving || (epoch < status.epoch && turn > status.base)) return called(status.grace);
      place(status);
    }
    rung = false;
    seen = now();
    become("line");
    more({% if draws %}status.draw && number <= status.draw.drawn ? put({{ said.drawn }}, turn).replace("{m}", grouped(status.draw.drawn)) : {% endif %}"");
    rest();
    say(text("place") + ". " + text("wait"));
  }

  // Nobody goes in behind a visitor's back: a tab that is not seen says that it is time, and asks when it is looked at.
  function called(grace) {
    if (!doc.hidden) { become("called"); return knock(); }
    if (!rung) {
      rung = true;
      become("called", "", {{ said.back }}.replace("{time}", new Date(seen + 1000 * grace).toLocaleTimeString("{{ lang }}-u-nu-latn", { timeStyle: "short" })));
      beep();
      if (wanted) tell();
    }
    later(poll.hidden);
  }

  function tell() {
    try {
      new Note(doc.title, { body: text("why"), tag: room }).onclick = function () { win.focus(); };
    } catch (e) { el("bell").hidden = true; }  // phones that know of the word only
  }

  function beep() {
    if (!el("sound").checked) return;
    var tone = audio.createOscillator();
    tone.connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.5);
  }

  function knock() { ask("POST", "pass", mine); }

  function mine(answer) {
    if (answer.state === "entered") return leave();
    number = answer.number || 0; epoch = answer.epoch || 0; turn = answer.turn || 0;
    if (answer.state === "called" && doc.hidden) return called(answer.grace);
    if (!number && answer.ahead !== null) {
      told = answer.wait && [answer.wait.low, answer.wait.high];
      draw(nearer(answer.ahead), told);
    }
    become(answer.state, answer.heading, answer.detail);
    if (number && state !== "called") rest(); else due = now() + 1000 * (answer.retry_after || poll.near);
  }
{% if opens %}

  var opening = {{ said.opens }}, opens = fact("until") && now() + 1000 * fact("until"), time = el("opens"), moment, mark = 99;

  // the server's clock counts; an answer can only be older than it says
  function early(status) {
    var at = now() + 1000 * (status.opens - status.now);
    opens = moment === status.opens ? least(opens, at) : at;
    moment = status.opens;
    if (turn && !status.draw) place(status);
    more({% if draws %}status.draw && number ? put({{ said.here }}, most(status.waiting, number)) : {% endif %}"");
  }

  function count() {
    var wait = most(0, up((opens - now()) / 1000)), minutes = wait < 61 ? 1 : wait < 301 ? 5 : wait < 601 ? 10 : 99;
    large("count", opening.split("{span}"), floor(wait / 3600) + new Date(1000 * wait).toISOString().slice(13, 19));
    // to a screen reader three times
    if (minutes < mark) say(opening.replace("{span}", form(minutesLess, minutes).replace("{high}", minutes)), true);
    mark = minutes;
    if (opens < now()) { opens = 0; later(0); due += 1000 * poll.far * chance(); }
  }

  if (opens) time.textContent = new Date(time.getAttribute("datetime")).toLocaleString("{{ lang }}-u-nu-latn", { dateStyle: "full", timeStyle: "short" });
{% endif %}
{% if draws %}

  var proven = text("proof");

  // Once the seed is known, everybody's place is: the same sum as in gate/core/draw.py.
  function drawn(status) {
    var lot = status.draw, crypto = win.crypto, seed = [];
    if (!lot.drawn && !status.serving) return rest();
    if (!lot.drawn || number > lot.drawn) { turn = number; return stand(status); }
    show("proof", lot.seed);
    // SHA-256 is for pages that came by https; others ask, spread out
    if (!crypto || !crypto.subtle) {
      if (turn) return stand(status);
      hello = least(hello, now() + 20000 * chance());
      return rest();
    }
    lot.seed.replace(/../g, function (two) { seed.push(parseInt(two, 16)); });
    sha(seed, function (hash) {
      var hex = "", i;
      for (i = 0; i < 32; i++) hex += ("0" + hash[i].toString(16)).slice(-2);
      show("checked", hex === text("promise") ? "✓" : "✗");
      permuted(seed, lot.drawn, number, function (place) { turn = place; proven = true; stand(status); });
    });
  }

  function sha(bytes, done) {
    win.crypto.subtle.digest("SHA-256", new Uint8Array(bytes)).then(safely(function (hash) { done(new Uint8Array(hash)); }));
  }

  function permuted(seed, many, n, done) {
    var a = up(Math.sqrt(many)), b = up(many / a), round = 0, pair = [floor((n - 1) / a), (n - 1) % a];
    (function mix() {
      var odd = round % 2, digit = pair[odd], x = pair[0] * a + pair[1];
      if (round === 10 && x < many) return done(x + 1);
      round %= 10;
      sha(seed.concat(round++, 0, 0, 0, 0, digit >>> 24, digit >>> 16, digit >>> 8, digit), function (hash) {
        var base = odd ? b : a, left = 0, i;
        for (i = 0; i < 8; i++) left = (left * 256 + hash[i]) % base;
        pair[1 - odd] = (pair[1 - odd] + left) % base;
        mix();
      });
    })();
  }
{% endif %}

  // What was sent with a form is not sent again behind the visitor's back: what is kept is shown, with a button.
  function leave() {
    over = true;
    if (el("kept")) return el("form").submit();
    become("called", "", again ? {{ said.resend }} : "");
    if (!again) return location.reload();
    el("on").hidden = false; el("form").hidden = el("keep").hidden = el("sent").hidden = true;
    say(text("why"), true);
  }

  function step() {
    if (over) return;
    var wait = due - now();
{% if opens %}
    if (opens && state === "early") count();
{% endif %}
    show("next", wait > 9000 ? put({{ said.next }}, up(wait / 1000)) : "");
    if (busy) return;
    if (now() > hello && !failed) return ask("GET", "ticket", function (answer) { hello = Infinity; mine(answer); });
    if (wait > 0) return;
    if (state === "called" && !doc.hidden) knock(); else ask("GET", "status", look);
  }

  function back() { if (!doc.hidden) due = least(due, most(now(), last + 1000 * poll.near)); }

  function safely(work) {
    return function (event) {
      try { return work(event); } catch (e) {
        over = true;
        setTimeout(function () { el("form").submit(); }, 30000);
      }
    };
  }

  el("form").onsubmit = safely(function () { back(); step(); show("next", {{ said.asking }}); return false; });
  el("sound").onchange = safely(function () { audio = audio || new Sound(); beep(); });
  el("bell").onclick = safely(function () {
    Note.requestPermission(safely(function (answer) {
      wanted = answer === "granted";
      el("bell").setAttribute("aria-pressed", wanted);
      if (wanted) tell(); else el("bell").hidden = true;
    }));
  });
  el("sound").parentNode.hidden = !Sound;
  el("bell").hidden = !Note || Note.permission === "denied";
  el("tell").hidden = !epoch;
  doc.addEventListener("visibilitychange", safely(back));
  win.addEventListener("pageshow", safely(function (event) { if (event.persisted) back(); }));
  if (!navigator.cookieEnabled) show("why", {{ said.cookies }});
  setInterval(safely(step), 500);
  clearTimeout(gateAgain);
})();

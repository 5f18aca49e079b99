// The page lets its visitor in by itself. ES5, so that old phones can run it. What it asks most is the room's shared status
// document, which is the same for everybody and may come from a cache; it works out its own place as gate/core/wait.py does.
(function () {
  var words = {{ words }}, said = {{ said }};
  var plural = function (n) { return +({{ plural }}); };
  var page = document.getElementById("gate");
  var fact = function (name) { return page.getAttribute("data-" + name) || ""; };
  var el = function (id) { return document.getElementById(id); };
  var room = "/__gate/rooms/" + fact("room") + "/";
  var number = +fact("number"), epoch = +fact("epoch"), shown = fact("ahead") === "" ? -1 : +fact("ahead");
  var state = fact("state"), first = shown, again = fact("again");
  var poll = { near: 2, far: 30, share: 0.15, jitter: 0.3, hidden: 3, paused: 20 };
  var due = now() + 1000 * fact("in"), last = now(), busy = false, failed = 0, over = false;
  var spoken = "", spokenAt = now(), word = el("word").textContent;

  function now() { return new Date().getTime(); }
  function show(id, text) { var it = el(id); if (it.textContent !== text) it.textContent = text; it.hidden = !text; }
  function grouped(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, {{ group }}); }
  function form(list, n) { return list[plural(n)]; }

  function span(low, high) {
    var hours = high > 5400, most = Math.max(1, Math.ceil(high / 60));
    var step = hours || most <= 20 ? 1 : most <= 60 ? 5 : 10, unit = hours ? 3600 : 60 * step;
    low = Math.floor(low / unit) * step;
    most = Math.max(Math.ceil(high / unit) * step, low + step);
    var list = hours ? (low ? words.hour : words.underHour) : low ? words.min : words.underMin;
    return form(list, most).replace("{low}", low).replace("{high}", most);
  }

  function draw(ahead, wait) {
    var text = ahead ? form(words.ahead, ahead) : words.next, at = text.indexOf("{n}"), place = el("place");
    var strong = document.createElement(at < 0 ? "strong" : "b");
    strong.textContent = at < 0 ? text : grouped(ahead);
    place.textContent = at > 0 ? text.slice(0, at) : "";
    place.appendChild(strong);
    if (at >= 0) place.appendChild(document.createTextNode(text.slice(at + 3)));
    show("wait", wait ? said.wait.replace("{span}", span(wait[0], wait[1])) : "");
    if (first > 0) { el("bar").hidden = false; el("bar").value = 100 * (1 - ahead / first); }
  }

  // To a screen reader: at once when something happened, otherwise at most every half minute and only what has changed.
  function say(text, urgent) {
    if (text === spoken || (!urgent && now() - spokenAt < 30000)) return;
    spoken = text; spokenAt = now(); el("say").textContent = text;
  }

  function become(next, why) {
    var changed = next !== state;
    state = next;
    show("head", said.heads[next]);
    if (why || changed) show("why", why || said.whys[next]);
    el("card").hidden = shown < 0 || !(next === "line" || next === "hold" || next === "store");
    if (next !== "line") show("wait", "");
    document.title = (next === "line" && shown > 0 ? "(" + grouped(shown) + ") " : "") + el("head").textContent + " · " + said.name;
    if (changed) say(el("head").textContent + ". " + el("why").textContent, true);
  }

  function place(serving, door, pace) {
    var ahead = Math.max(0, number - 1 - serving + door);
    shown = shown < 0 ? ahead : Math.min(shown, ahead);
    if (first < 0) first = shown;
    var wait = pace && [(shown + 1) * pace[0], (shown + 1) * pace[1]];
    draw(shown, wait);
    return wait;
  }

  function later(seconds) { due = now() + 1000 * seconds * (1 + poll.jitter * Math.random()); }

  function ask(method, url, done) {
    var request = new XMLHttpRequest();
    busy = true; last = now();
    request.open(method, room + url);
    request.setRequestHeader("Accept", "application/json");
    // caches for many may answer, this browser's own may not: what it would give is what is shown already
    request.setRequestHeader("Cache-Control", "max-age=0");
    request.timeout = 10000;
    request.onloadend = safely(function () {
      var answer = null;
      busy = false;
      try { answer = JSON.parse(request.responseText); } catch (e) { /* not from the gate */ }
      if (request.status === 404) return leave();
      if (!answer || !answer.state) {
        later(Math.min(60, 4 * Math.pow(2, failed++)));
        if (failed > 3) { show("why", said.lost); say(said.lost, true); }
        return;
      }
      if (failed > 3) show("why", said.whys[state]);
      failed = 0;
      done(answer);
    });
    request.send();
  }

  function look(status) {
    poll = status.poll;
    show("word", status.message);
    if (status.message !== word) { word = status.message; say(word, true); }
    if (status.state === "open" || (status.state === "line" && !epoch)) return leave();
    if (status.state !== "line") { later(poll.paused); return become(status.state); }
    // a place by time, given while nobody could count: only the gate knows whose turn it is
    if (!number) return knock();
    if (epoch < status.epoch || (epoch === status.epoch && number <= status.serving)) { become("called"); return knock(); }
    var wait = epoch === status.epoch ? place(status.serving, status.at_door, status.pace) : null;
    become("line");
    var seconds = wait ? Math.min(poll.far, Math.max(poll.near, wait[0] * poll.share)) : poll.paused;
    later(document.hidden && seconds > 10 ? seconds * poll.hidden : seconds);
    say(el("place").textContent + ". " + el("wait").textContent);
  }

  function knock() {
    ask("POST", "pass", function (mine) {
      if (mine.state === "entered") return leave();
      number = mine.number || 0; epoch = mine.epoch || 0;
      due = now() + 1000 * (mine.retry_after || poll.near);
      become(mine.state, mine.detail);
    });
  }

  // What was sent with a form is not sent again behind the visitor's back.
  function leave() {
    over = true;
    become("called", again ? said.resend : "");
    if (again) { el("on").hidden = false; el("form").hidden = el("keep").hidden = true; } else location.reload();
  }

  function step() {
    if (over) return;
    var left = due - now();
    if (left > 0) {
      if (!document.hidden) el("next").textContent = said.next.replace("{n}", Math.ceil(left / 1000));
    } else if (!busy) {
      el("next").textContent = said.asking;
      if (state === "called") knock(); else ask("GET", "status", look);
    }
  }

  function back() { if (!document.hidden) due = Math.min(due, Math.max(now(), last + 1000 * poll.near)); }

  function safely(work) {
    return function (event) {
      try { return work(event); } catch (e) { over = true; setTimeout(function () { if (again) location.href = again; else location.reload(); }, 30000); }
    };
  }

  el("form").onsubmit = safely(function () { back(); step(); return false; });
  document.addEventListener("visibilitychange", safely(back));
  addEventListener("pageshow", safely(function (event) { if (event.persisted) back(); }));
  if (!navigator.cookieEnabled) show("why", said.cookies);
  setInterval(safely(step), 1000);
  clearTimeout(gateAgain);
})();

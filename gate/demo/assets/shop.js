// Extras of a page, fetched after it: an answer without content, a failure and no answer at all simply leave them out.
"use strict";
for (const place of document.querySelectorAll("[data-fragment]")) {
  fetch(place.dataset.fragment, { headers: { Accept: "text/html" } })
    .then((answer) => (answer.status === 200 ? answer.text() : ""))
    .then((html) => { place.innerHTML = html; place.hidden = !html; })
    .catch(() => { place.hidden = true; });
}
for (const field of document.querySelectorAll("[data-rate]")) {
  fetch(field.dataset.rate, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((found) => {
      if (!found || !Number.isFinite(found.rate)) return;
      field.value = found.rate.toFixed(2);
      document.querySelector("[data-rate-shown]").textContent = field.value;
    })
    .catch(() => {});
}
// The seat is given back with the confirmation; a reload must not stand in line again to see it.
for (const order of document.querySelectorAll("[data-lasting]")) history.replaceState(null, "", order.dataset.lasting);

// Makes the console live. The server renders the page; this takes over what has changed and leaves alone what is being edited.
(() => {
  "use strict";
  if (!document.getElementById("main")) return;
  const EVERY = 2000; // milliseconds
  const PAUSE = 350; // milliseconds after the last key until the effect is asked for
  let busy = false;
  let asked = null; // the form whose change waits for a yes
  let posts = 0;

  const take = (fresh) => {
    const theirs = new Map([...fresh.querySelectorAll("[data-live]")].map((e) => [e.id, e]));
    const ours = [...document.querySelectorAll("[data-live]")];
    if (!fresh.getElementById("main") || ours.length !== theirs.size || ours.some((e) => !theirs.has(e.id))) {
      location.replace("/"); // signed out, or the config has other rooms now
      return;
    }
    for (const element of ours) {
      const next = theirs.get(element.id);
      if (element.dataset.live === "value") {
        if (element.value === element.defaultValue && element !== document.activeElement) {
          element.defaultValue = element.value = next.defaultValue;
        }
        continue;
      }
      for (const { name, value } of next.attributes) {
        if (element.getAttribute(name) !== value) element.setAttribute(name, value);
      }
      if (element.dataset.live !== "attributes" && element.innerHTML !== next.innerHTML) {
        element.replaceChildren(...next.cloneNode(true).childNodes);
      }
    }
    document.title = fresh.title;
    document.body.classList.remove("stale");
  };

  const load = async (url, options) => {
    const response = await fetch(url, { credentials: "same-origin", ...options });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    return { response, fresh };
  };

  const ask = (fresh) => {
    document.getElementById("confirm")?.remove();
    const dialog = document.importNode(fresh.getElementById("confirm"), true);
    dialog.removeAttribute("open");
    document.getElementById("main").append(dialog);
    dialog.querySelector("[data-cancel]").addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
    const before = document.activeElement;
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
    });
    dialog.showModal();
  };

  const isEdited = (form) => [...form.elements].some((e) => e.dataset.live === "value" && e.value !== e.defaultValue);

  // What the settings would do, while they are being typed.
  const typed = new WeakMap();
  const tell = async (form) => {
    const effect = form.querySelector(".effect");
    const turn = typed.get(form);
    if (!isEdited(form)) {
      effect.replaceChildren();
      return;
    }
    try {
      const { fresh } = await load(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const said = fresh.getElementById(effect.id);
      if (typed.get(form) === turn && said) effect.replaceChildren(...said.childNodes);
    } catch {
      effect.replaceChildren(); // the page says by itself that the gate does not answer
    }
  };
  document.documentElement.classList.add("scripted");
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (!form?.dataset.preview) return;
    clearTimeout(typed.get(form));
    typed.set(form, setTimeout(() => tell(form), PAUSE));
  });

  const settle = (form) => {
    for (const input of form.elements) if (input.dataset.live === "value") input.defaultValue = input.value;
    clearTimeout(typed.get(form));
    typed.delete(form);
    form.querySelector(".effect").replaceChildren();
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const action = new URL(form.action).pathname;
    if (action === "/logout") return;
    event.preventDefault();
    const button = event.submitter;
    button?.setAttribute("aria-busy", "true");
    busy = true;
    posts += 1;
    try {
      const { response, fresh } = await load(action, { method: "POST", body: new URLSearchParams(new FormData(form, button)) });
      if (fresh.getElementById("confirm")) {
        asked = form.dataset.preview ? form : null;
        ask(fresh);
      } else if (response.headers.get("content-type")?.startsWith("text/html")) {
        const settled = form.closest("dialog") ? asked : form.dataset.preview ? form : null;
        form.closest("dialog")?.close();
        asked = null;
        if (settled && !fresh.querySelector(".notice.bad")) {
          settle(settled);
          document.activeElement?.dataset?.live === "value" && button?.focus();
        }
        take(fresh);
      } else {
        location.replace("/");
      }
    } catch {
      document.body.classList.add("stale");
    } finally {
      button?.removeAttribute("aria-busy");
      busy = false;
    }
  });

  setInterval(async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const before = posts;
      const { fresh } = await load("/");
      if (posts === before) take(fresh); // else it was read before the change
    } catch {
      document.body.classList.add("stale");
      document.getElementById("age").textContent = "The gate does not answer; what you see is old.";
    } finally {
      busy = false;
    }
  }, EVERY);

  const open = document.getElementById("confirm");
  if (open) open.scrollIntoView();
})();

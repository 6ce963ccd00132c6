// Keeps the page current: the server sends its changing part whenever something changed. Without this script the page is
// the same, only not live.
"use strict";

(() => {
  const content = document.getElementById("content");
  const live = document.getElementById("live");
  let pending = null;
  // What the server's clock is ahead of this one, so that ages are right on a host with a wrong clock.
  let ahead = 0;

  const say = (word, state) => {
    live.hidden = false;
    live.textContent = word;
    live.dataset.state = state;
  };

  const words = (seconds) => {
    const two = (n) => String(n).padStart(2, "0");
    const s = Math.max(0, Math.floor(seconds)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    return d > 0 ? `${d}d ${two(h % 24)}h` : h > 0 ? `${h}h ${two(m % 60)}m` : m > 0 ? `${m}m` : `${s}s`;
  };

  const tick = () => {
    for (const time of content.querySelectorAll("time.age")) {
      time.textContent = words((Date.now() + ahead - Date.parse(time.dateTime)) / 1000);
    }
  };

  const setClock = () => {
    const now = content.querySelector(".as-of time");
    if (now) ahead = Date.parse(now.dateTime) - Date.now();
  };

  // Somebody who types a reason keeps the form under their fingers.
  const busy = () => content.querySelector("details[open]") !== null;

  const show = () => {
    if (pending === null || busy()) return;
    content.innerHTML = pending;
    pending = null;
    setClock();
    tick();
  };

  content.addEventListener("toggle", () => setTimeout(show, 0), true);
  setClock();
  setInterval(tick, 1000);

  const events = new EventSource(document.body.dataset.link + "page/events");
  events.addEventListener("status", (event) => {
    pending = event.data;
    show();
    say(pending === null ? "live" : "waits while a form is open", "ok");
  });
  events.addEventListener("failure", () => say("the store does not answer", "bad"));
  events.addEventListener("open", () => say("live", "ok"));
  events.addEventListener("error", () => say("not live, trying again", "bad"));
})();

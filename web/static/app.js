"use strict";
// Pages work without this file. It keeps them fresh, follows logs and copies commands.
(() => {
  const LINES_MAX = 5000;
  const root = document.documentElement;
  root.classList.add("js");

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = button.parentElement.querySelector("code, pre").textContent;
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and press Ctrl-C";
    }
    setTimeout(() => { button.textContent = said; }, 2000);
  });

  const log = document.getElementById("log");
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  if (log && log.dataset.follow !== undefined && !location.hash) toEnd();

  const add = (html) => {
    const follows = isAtEnd();
    log.insertAdjacentHTML("beforeend", html);
    while (log.children.length > LINES_MAX) log.firstElementChild.remove();
    if (follows) toEnd();
  };

  let source = null;
  let last = document.body.dataset.last || "";
  const open = () => {
    const path = document.body.dataset.stream;
    if (!path || source) return;
    const url = new URL(path, location.href);
    if (last) url.searchParams.set("after", last);
    source = new EventSource(url);
    source.addEventListener("line", (event) => {
      last = event.lastEventId;
      if (log) add(event.data);
    });
    source.addEventListener("changed", () => { htmx.trigger(document.body, "changed"); });
    source.addEventListener("error", () => {
      root.classList.toggle("stale", source !== null && source.readyState === EventSource.CLOSED);
    });
    source.addEventListener("open", () => { root.classList.remove("stale"); });
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  // A page that nobody sees holds no connection: a browser has six of them for all its tabs.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
    } else if (!source) {
      open();
      htmx.trigger(document.body, "changed");
    }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  open();
})();

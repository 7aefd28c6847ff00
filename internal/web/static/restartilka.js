// What htmx leaves to the pages: to say whether a live page is live, to count
// the seconds of what goes on, and to fetch a host's details when they are
// opened and when the host has changed since.
(() => {
  const body = document.body;
  const live = document.getElementById("live");
  let lost = false;

  const tell = () => {
    for (const e of document.querySelectorAll(".connection")) {
      e.hidden = !live?.hasAttribute("hx-sse:connect") || body.dataset.over;
      e.classList.toggle("lost", lost);
      e.textContent = lost ? e.dataset.lost : e.dataset.live;
    }
  };
  const connection = (isLost) => {
    lost = isLost;
    tell();
  };

  // The stream comes back by itself once it was there; before, it is asked for again.
  const again = () => setTimeout(() => htmx.trigger(live, "reconnect"), 2000);
  document.addEventListener("htmx:sse:after:connection", () => connection(false));
  document.addEventListener("htmx:sse:close", (e) => {
    if (e.detail.reason === "message") body.dataset.over = "yes";
    tell();
  });
  document.addEventListener("htmx:sse:error", (e) => {
    if (e.detail.status === 401) location.reload(); // to sign in, and back here
    connection(true);
  });
  for (const name of ["htmx:error", "htmx:response:error"]) {
    document.addEventListener(name, (e) => {
      if (e.target !== live) return;
      connection(true);
      again();
    });
  }

  // Seconds go on from what the server has said, whatever the time is here.
  const since = new WeakMap();
  const one = (n, unit) => `${Math.floor(n)}\u00a0${unit}`;
  const two = (n, unit, rest, smaller) => one(n, unit) + (rest >= 1 ? ` ${one(rest, smaller)}` : "");
  const tick = () => {
    const now = performance.now();
    for (const e of document.querySelectorAll("[data-elapsed]")) {
      const said = e.dataset.elapsed;
      if (since.get(e)?.said !== said) since.set(e, { said, start: now - said * 1000 });
      const s = Math.floor((now - since.get(e).start) / 1000);
      const d = body.dataset;
      e.textContent = s < 60 ? one(s, d.s) : s < 3600 ? two(s / 60, d.min, s % 60, d.s) : two(s / 3600, d.h, (s / 60) % 60, d.min);
    }
  };
  setInterval(tick, 1000);

  const freshen = (report) => {
    const details = report.closest("details");
    if (details && !details.open) return;
    const version = details?.dataset.version;
    if (version && version === report.dataset.shown) return;
    report.dataset.shown = version ?? "";
    htmx.trigger(report, "refresh");
  };
  const freshenAll = () => document.querySelectorAll("[data-report]").forEach(freshen);
  document.addEventListener("toggle", (e) => e.target.querySelectorAll?.(":scope > [data-report]").forEach(freshen), true);
  document.addEventListener("htmx:sse:after:message", () => {
    tell();
    tick();
    freshenAll();
  });
  // What an address names is opened, and so is what a mark of the strip leads to.
  const arrive = () => {
    const details = document.querySelector(".host:target > details");
    if (details) details.open = true;
  };
  addEventListener("hashchange", arrive);
  arrive();
  tell();
})();

// What every page has beside its own words: times in the reader's zone, forms
// that keep what was typed where it can't be sent, and commands to copy.
(() => {
  // Times are UTC as they come, and stay so in their titles.
  const zone = document.getElementById("times");
  const turn = document.getElementById("times-turn");
  const key = "restartilka_utc";
  let utc = false;
  try {
    utc = localStorage.getItem(key) === "yes";
  } catch {} // a browser that keeps nothing
  const two = (n) => String(n).padStart(2, "0");
  const written = (t, clock) => {
    const parts = (d) => (utc
      ? [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()]
      : [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()]);
    const [year, month, day, h, m, s] = parts(t);
    const now = parts(new Date());
    const today = year === now[0] && month === now[1] && day === now[2];
    return (today || clock ? `${two(h)}:${two(m)}:${two(s)}` : `${year}-${two(month + 1)}-${two(day)} ${two(h)}:${two(m)}`) + (utc ? " UTC" : "");
  };
  const write = (e) => {
    const t = new Date(e.dateTime);
    if (!e.dateTime.includes("T") || isNaN(t)) return;
    const text = written(t, e.hasAttribute("data-clock"));
    if (e.textContent !== text) e.textContent = text;
  };
  // A window to choose is an option, which can have no <time>.
  const clock = (d) => (utc ? `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}` : `${two(d.getHours())}:${two(d.getMinutes())}`);
  const day = (d) => new Intl.DateTimeFormat(document.documentElement.lang, { weekday: "short", day: "numeric", month: "short", timeZone: utc ? "UTC" : undefined }).format(d);
  const writeWindow = (e) => {
    const [from, to] = [new Date(e.dataset.begins), new Date(e.dataset.ends)];
    if (isNaN(from) || isNaN(to)) return;
    const later = day(from) === day(to) ? "" : day(to) + ", ";
    const when = e.dataset.open ? `${e.dataset.open} ${later}${clock(to)}` : `${day(from)}, ${clock(from)}–${later}${clock(to)}`;
    e.textContent = `${e.value} · ${when}${utc ? " UTC" : ""}`;
  };
  const writeAll = () => {
    document.querySelectorAll("time").forEach(write);
    document.querySelectorAll("option[data-begins]").forEach(writeWindow);
    const minutes = -new Date().getTimezoneOffset();
    const offset = `UTC${minutes < 0 ? "−" : "+"}${Math.floor(Math.abs(minutes) / 60)}${minutes % 60 ? ":" + two(Math.abs(minutes) % 60) : ""}`;
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    zone.textContent = utc || name === "UTC" ? zone.dataset.utc : zone.dataset.local.replace("ZONE", `${name} (${offset})`);
    turn.textContent = utc ? turn.dataset.local : turn.dataset.utc;
    turn.hidden = name === "UTC";
    // A time by the clock of another zone is said only where it is another clock.
    const plain = (z) => (z === "Etc/UTC" ? "UTC" : z);
    document.querySelectorAll("[data-zone]").forEach((e) => (e.hidden = plain(e.dataset.zone) === plain(utc ? "UTC" : name)));
  };
  turn.addEventListener("click", () => {
    utc = !utc;
    try {
      localStorage.setItem(key, utc ? "yes" : "no");
    } catch {}
    writeAll();
  });
  new MutationObserver((changes) => {
    for (const c of changes) {
      const near = (c.target.nodeType === Node.TEXT_NODE ? c.target.parentElement : c.target)?.closest("time");
      if (near) write(near);
      for (const n of c.addedNodes) {
        if (n.nodeType !== Node.ELEMENT_NODE) continue;
        if (n.matches("time")) write(n);
        n.querySelectorAll("time").forEach(write);
      }
    }
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
  writeAll();

  // A clock that nobody has set yet is that of who reads it.
  for (const field of document.querySelectorAll("input[data-zone=reader]")) {
    if (field.value === field.defaultValue) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || field.value;
  }

  // Is the server there? Whatever it answers, but for what a balancer says in its stead.
  const away = document.getElementById("away");
  const icon = document.querySelector("link[rel=icon]").href;
  const reach = () => fetch(icon, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(5000) }).then((r) => r.status < 500, () => false);
  let asking;
  const tell = (what) => {
    away.textContent = away.dataset[what];
    asking ??= setInterval(async () => {
      if (!(await reach())) return;
      clearInterval(asking);
      asking = undefined;
      away.textContent = "";
    }, 3000);
  };
  const check = async () => {
    if (!asking && !(await reach())) tell("away");
  };
  addEventListener("offline", () => tell("away"));
  for (const name of ["htmx:error", "htmx:sse:error"]) document.addEventListener(name, check);

  // A press goes out once the server was seen; before, the page stays as it is.
  const sending = new WeakSet();
  const seen = new WeakSet();
  const rest = (form) => {
    sending.delete(form);
    form.removeAttribute("aria-busy");
  };
  document.addEventListener("submit", async (e) => {
    const form = e.target;
    if (e.defaultPrevented || form.getAttribute("method") !== "post" || seen.delete(form) || !AbortSignal.timeout) return;
    e.preventDefault();
    if (sending.has(form)) return;
    sending.add(form);
    form.setAttribute("aria-busy", "true");
    if (!(await reach())) {
      rest(form);
      tell("unsent");
      return;
    }
    if (!form.isConnected) {
      tell("changed");
      return;
    }
    seen.add(form);
    form.requestSubmit(e.submitter?.isConnected ? e.submitter : undefined);
    setTimeout(rest, 20000, form); // still here: the answer was no page
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[aria-busy]").forEach(rest)); // by the back button

  for (const pre of document.querySelectorAll("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = document.body.dataset.copy;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.textContent.trim());
      button.textContent = document.body.dataset.copied;
      setTimeout(() => (button.textContent = document.body.dataset.copy), 2000);
    });
    pre.before(button);
    button.className = "copier";
  }
})();

// The viewer of a host's output: it fetches the whole, piece by piece, and makes
// elements only of the rows that can be seen. Rows come from the server as texts
// that are harmless already, with classes for their colours; see output.go.
(() => {
  const most = 800000; // rows: a page that is taller is beyond what browsers can lay out
  const spare = 30; // rows made above and below what can be seen
  const slice = 20000; // rows that are searched before others get a turn

  const textOf = (row) => (typeof row === "string" ? row : row.filter((_, i) => i % 2 === 0).join(""));
  const say = (text, ...values) => text.replace(/%d/g, () => values.shift().toLocaleString(document.documentElement.lang));

  class Viewer {
    constructor(root) {
      this.root = root;
      this.rows = [];
      this.rest = 0; // rows at the end that come again, longer
      this.next = 0;
      this.ink = "";
      this.found = []; // rows that have what is searched for
      this.scanned = 0;
      this.wanted = "";
      this.here = -1; // of found
      this.follows = true;
      const find = (what) => root.querySelector(what);
      this.panel = find(".viewer");
      this.box = find(".rows");
      this.tall = find(".tall");
      this.window = find(".window");
      this.field = find("input[type=search]");
      this.count = find(".found");
      this.back = find(".back");
      this.forth = find(".forth");
      this.button = find(".follow");
      this.loading = find(".loading");
      root.setAttribute("hx-morph-skip", ""); // from here on it is ours
      this.listen();
      this.load();
    }

    listen() {
      this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
      new ResizeObserver(() => this.draw()).observe(this.box);
      this.field.addEventListener("input", () => this.search(this.field.value));
      this.field.addEventListener("keydown", (e) => {
        if (e.key === "Enter") this.go(e.shiftKey ? -1 : 1);
        else if (e.key === "Escape") this.search((this.field.value = ""));
        else return;
        e.preventDefault();
      });
      this.back.addEventListener("click", () => this.go(-1));
      this.forth.addEventListener("click", () => this.go(1));
      this.button.addEventListener("click", () => this.follow(!this.follows));
      this.box.addEventListener("keydown", (e) => this.key(e));
    }

    key(e) {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      switch (e.key) {
        case "/": this.field.focus(); this.field.select(); break;
        case "n": this.go(1); break;
        case "N": this.go(-1); break;
        case "f": this.follow(!this.follows); break;
        case "Home": this.box.scrollTop = 0; break;
        case "End": this.box.scrollTop = this.box.scrollHeight; break;
        default: return;
      }
      e.preventDefault();
    }

    // load fetches piece after piece; then it looks now and then for more, until
    // the host is through.
    async load() {
      for (let wait = 0; ; ) {
        if (wait) await new Promise((ready) => setTimeout(ready, wait));
        const shut = this.root.closest("details:not([open])");
        if (shut) await new Promise((ready) => shut.addEventListener("toggle", ready, { once: true }));
        if (document.hidden) await new Promise((ready) => document.addEventListener("visibilitychange", ready, { once: true }));
        if (!this.root.isConnected) return;
        let piece;
        try {
          const answer = await fetch(`${this.root.dataset.output}?offset=${this.next}&ink=${this.ink}`, { headers: { "HX-Request": "true" } });
          if (answer.status === 401) return location.reload(); // to sign in, and back here
          if (answer.status < 500 && !answer.ok) return;
          if (!answer.ok) throw new Error(answer.status);
          piece = await answer.json();
        } catch {
          wait = Math.min((wait || 500) * 2, 10000); // the server is away
          continue;
        }
        const came = this.take(piece);
        if (this.rows.length >= most) return this.full();
        if (piece.more) {
          const size = Math.max(this.root.dataset.size, this.next);
          this.loading.hidden = size < 1 << 20 || !this.panel.hidden;
          this.loading.textContent = say(this.loading.dataset.text, Math.round(this.next / 1048576), Math.round(size / 1048576));
          wait = 0;
          continue;
        }
        if (this.rows.length) this.show();
        if (piece.over) return;
        wait = came ? 500 : Math.min((wait || 500) * 1.5, 2000);
      }
    }

    // take puts a piece at the end; it tells whether that changed anything.
    take(piece) {
      const before = this.rows.length;
      const last = this.rest;
      this.rows.length -= last;
      this.scanned = Math.min(this.scanned, this.rows.length);
      while (this.found.length && this.found.at(-1) >= this.rows.length) this.found.pop();
      for (const row of piece.rows) this.rows.push(row);
      for (const row of piece.rest) this.rows.push(row);
      this.rest = piece.rest.length;
      const came = piece.next > this.next || this.rest !== last || this.rows.length !== before;
      this.next = piece.next;
      this.ink = piece.ink;
      if (!this.panel.hidden) {
        this.draw();
        this.scan();
      }
      return came;
    }

    show() {
      this.loading.hidden = true;
      if (!this.panel.hidden) return;
      this.panel.hidden = false;
      this.root.querySelector(".plain-output").hidden = true;
      this.draw();
    }

    full() {
      this.show();
      this.loading.hidden = false;
      this.loading.textContent = this.loading.dataset.most;
    }

    // draw makes the rows that can be seen.
    draw() {
      if (this.panel.hidden) return;
      this.height ||= this.measure();
      this.tall.style.height = `${this.rows.length * this.height}px`;
      if (this.follows) this.box.scrollTop = this.box.scrollHeight;
      const first = Math.max(Math.floor(this.box.scrollTop / this.height) - spare, 0);
      const end = Math.min(Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + spare, this.rows.length);
      this.window.style.transform = `translateY(${first * this.height}px)`;
      const made = document.createDocumentFragment();
      for (let i = first; i < end; i++) made.append(this.make(i));
      this.window.replaceChildren(made);
    }

    measure() {
      const row = document.createElement("div");
      row.textContent = "x";
      this.window.replaceChildren(row);
      return row.getBoundingClientRect().height || 20;
    }

    make(i) {
      const row = this.rows[i];
      const line = document.createElement("div");
      if (i === this.found[this.here]) line.className = "here";
      const spans = typeof row === "string" ? [row, ""] : row;
      const marks = this.wanted ? this.places(textOf(row)) : [];
      let at = 0;
      for (let s = 0; s < spans.length; s += 2) {
        let into = line;
        if (spans[s + 1]) {
          into = document.createElement("span");
          into.className = spans[s + 1];
          line.append(into);
        }
        this.put(into, spans[s], at, marks);
        at += spans[s].length;
      }
      return line;
    }

    // put appends a text that begins at some place of its row; what is searched
    // for is marked.
    put(into, text, at, marks) {
      let done = 0;
      for (const m of marks) {
        const from = Math.max(m - at, 0), to = Math.min(m - at + this.wanted.length, text.length);
        if (to <= done || from >= text.length) continue;
        const mark = document.createElement("mark");
        mark.textContent = text.slice(Math.max(from, done), to);
        into.append(text.slice(done, from), mark);
        done = to;
      }
      into.append(text.slice(done));
    }

    places(text) {
      const low = text.toLowerCase(), out = [];
      if (low.length !== text.length) return out; // letters that change their length: the row is found, and not marked
      for (let i = low.indexOf(this.wanted); i >= 0 && out.length < 100; i = low.indexOf(this.wanted, i + this.wanted.length)) out.push(i);
      return out;
    }

    scrolled() {
      if (this.drawing) return;
      this.drawing = requestAnimationFrame(() => {
        this.drawing = 0;
        const atEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - this.height;
        if (atEnd !== this.follows && this.box.scrollHeight > this.box.clientHeight) this.follow(atEnd);
        else this.draw();
      });
    }

    follow(on) {
      this.follows = on;
      this.button.setAttribute("aria-pressed", on);
      this.draw();
    }

    search(text) {
      this.wanted = text.toLowerCase();
      this.found = [];
      this.scanned = 0;
      this.here = -1;
      this.draw();
      this.scan();
    }

    // scan looks through the rows that it has not seen, a slice at a time.
    scan() {
      clearTimeout(this.scanning);
      if (this.wanted) {
        const end = Math.min(this.scanned + slice, this.rows.length);
        for (let i = this.scanned; i < end; i++) if (textOf(this.rows[i]).toLowerCase().includes(this.wanted)) this.found.push(i);
        this.scanned = end;
        if (end < this.rows.length) this.scanning = setTimeout(() => this.scan());
        else if (this.here < 0 && this.found.length && document.activeElement === this.field) return this.nearest();
      }
      this.tell();
    }

    // nearest goes to the first row from here on that has it.
    nearest() {
      const top = Math.floor(this.box.scrollTop / this.height);
      const i = this.found.findIndex((row) => row >= top);
      this.at(i < 0 ? 0 : i);
    }

    go(step) {
      if (!this.found.length) return;
      this.at((this.here + step + this.found.length) % this.found.length);
    }

    at(i) {
      this.here = i;
      const top = this.found[i] * this.height, { scrollTop, clientHeight } = this.box;
      if (top < scrollTop || top > scrollTop + clientHeight - 2 * this.height) {
        this.follows = false;
        this.button.setAttribute("aria-pressed", false);
        this.box.scrollTop = Math.max(top - clientHeight / 2, 0);
      }
      this.draw();
      this.tell();
    }

    tell() {
      const n = this.found.length;
      this.back.disabled = this.forth.disabled = !n;
      this.count.textContent = !this.wanted ? "" : this.here >= 0 ? say(this.count.dataset.some, this.here + 1, n) : n || this.scanned < this.rows.length ? "…" : this.count.dataset.none;
    }
  }

  const begin = () => {
    for (const root of document.querySelectorAll("[data-output]:not([hx-morph-skip])")) seen.observe(root);
  };
  const seen = new IntersectionObserver((entries) => {
    for (const e of entries) {
      if (!e.isIntersecting || e.target.hasAttribute("hx-morph-skip")) continue;
      seen.unobserve(e.target);
      new Viewer(e.target);
    }
  }, { rootMargin: "400px" });
  document.addEventListener("htmx:after:swap", begin);
  begin();
})();

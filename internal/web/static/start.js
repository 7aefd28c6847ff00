// What the form and the plan do by themselves: groups of the environment that is
// chosen, the number on the button, and arrow keys among the services found.
(() => {
  const ask = document.getElementById("ask");
  const group = document.getElementById("group");
  const followGroup = () => {
    const env = ask.querySelector("[name=env]:checked")?.value;
    for (const option of group.options) {
      const other = option.value !== "" && env !== undefined && option.dataset.env !== env;
      option.disabled = other;
      option.hidden = other;
      if (other && option.selected) group.value = "";
    }
  };
  // The reasons of before fill the field; without scripts they are there to read.
  const reason = document.getElementById("reason");
  for (const item of document.querySelectorAll("#reasons li")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = item.textContent;
    button.addEventListener("click", () => {
      reason.value = button.textContent;
      reason.focus();
    });
    item.replaceChildren(button);
  }
  // A reason is one line, which is shown on several.
  reason?.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.isComposing) return;
    e.preventDefault();
    ask.requestSubmit();
  });

  if (ask && group) {
    ask.addEventListener("change", (e) => e.target.name === "env" && followGroup());
    followGroup();
  }

  const plan = document.getElementById("plan");
  const button = plan?.querySelector("[data-forms]");
  const rules = new Intl.PluralRules(document.documentElement.lang);
  const number = () => {
    const boxes = [...plan.querySelectorAll("[name=hosts]")];
    for (const box of boxes) box.closest("tr")?.classList.toggle("out", !box.checked);
    if (!button) return;
    const n = boxes.filter((box) => box.checked).length;
    const forms = button.dataset.forms.split("|");
    const form = { one: 0, few: 1 }[rules.select(n)] ?? forms.length - 1;
    button.textContent = forms[Math.min(form, forms.length - 1)].replace("#", n);
    button.disabled = n === 0;
  };
  const rows = [...(plan?.querySelectorAll(".planned tbody tr") ?? [])];
  const centre = document.getElementById("narrow-centre");
  const refused = document.getElementById("narrow-refused");
  const narrow = () => {
    for (const row of rows) {
      const other = centre?.value && row.dataset.centre !== centre.value;
      row.hidden = Boolean(other) || (refused.checked && !row.dataset.refuses);
    }
  };
  if (refused) {
    for (const field of [centre, refused]) field?.addEventListener("change", narrow);
    addEventListener("pageshow", narrow);
    plan.addEventListener("click", (e) => {
      const tick = e.target.closest("[data-tick]")?.dataset.tick;
      if (!tick) return;
      e.preventDefault();
      for (const row of rows) {
        const box = row.querySelector("[name=hosts]");
        if (!row.hidden) box.checked = tick === "all" && (!row.dataset.refuses || box.defaultChecked);
      }
      number();
    });
  }
  if (plan) {
    plan.addEventListener("change", number);
    addEventListener("pageshow", number); // the browser may bring ticks back
    number();
  }

  document.addEventListener("keydown", (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    const offers = document.getElementById("offers");
    if (!step || !offers || !(e.target.id === "q" || offers.contains(e.target))) return;
    const stops = [document.getElementById("q"), ...offers.querySelectorAll("a")];
    const next = stops[stops.indexOf(e.target.closest("a, input")) + step];
    if (!next) return;
    e.preventDefault();
    next.focus();
  });
})();

// The days of a filter are those of the reader's zone, where the browser knows it.
(() => {
  const form = document.querySelector("form.filter");
  const zone = form?.querySelector("[name=zone]");
  if (!zone) return;
  const days = [...form.querySelectorAll("[name=since], [name=until]")];
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone.value && !days.some((day) => day.value)) zone.value = here;
  for (const name of form.querySelectorAll(".zone")) name.textContent = `(${zone.value || "UTC"})`;
  form.addEventListener("submit", () => {
    zone.disabled = !days.some((day) => day.value); // it says nothing without a day
  });
  addEventListener("pageshow", () => (zone.disabled = false));
})();

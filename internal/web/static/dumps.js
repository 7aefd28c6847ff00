// A file may be dropped anywhere on the page; it is then sent as if it was chosen.
(() => {
  const form = document.getElementById("upload");
  const file = document.getElementById("file");
  if (!form || !file) return;
  const says = form.querySelector(".dropping");
  says.textContent = form.dataset.drop;
  const has = (e) => [...(e.dataTransfer?.types ?? [])].includes("Files");
  let inside = 0;
  const show = (on) => form.classList.toggle("over", on);
  addEventListener("dragenter", (e) => {
    if (!has(e)) return;
    inside++;
    show(true);
    form.scrollIntoView({ block: "nearest" });
  });
  addEventListener("dragleave", (e) => {
    if (!has(e)) return;
    inside = Math.max(inside - 1, 0);
    if (inside === 0) show(false);
  });
  addEventListener("dragover", (e) => {
    if (has(e)) e.preventDefault();
  });
  addEventListener("drop", (e) => {
    if (!has(e)) return;
    e.preventDefault();
    inside = 0;
    show(false);
    if (e.dataTransfer.files.length === 0) return;
    file.files = e.dataTransfer.files;
    form.requestSubmit();
  });
})();

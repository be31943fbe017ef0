// The cron editor: presets fill the field, and what cannot be read cannot be saved.
import { all, find } from "./page";

document.addEventListener("click", (event) => {
  const preset = (event.target as Element).closest<HTMLElement>("[data-preset]")?.dataset.preset;
  const field = find<HTMLInputElement>("#cron-expression");
  if (preset === undefined || !field) return;
  field.value = preset;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
});

document.addEventListener("htmx:after:swap", () => {
  const save = find<HTMLButtonElement>("[data-cron] [type=submit]");
  if (save) save.disabled = find("[data-cron-valid]")?.dataset.cronValid !== "yes";
});

// A switch shows what is, not what was clicked: a dialog asks first.
document.addEventListener("click", (event) => {
  if ((event.target as Element).matches("[data-asks-first]")) event.preventDefault();
});
// Once it was clicked, a box follows its attribute no more, and that is what a live swap changes.
document.addEventListener("htmx:after:swap", () => {
  for (const box of all<HTMLInputElement>("[data-asks-first]")) box.checked = box.defaultChecked;
});

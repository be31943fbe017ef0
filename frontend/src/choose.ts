// Rows with `data-pick` boxes: how many are chosen, and the bar of what can be done with them.
import { all, find } from "./page";

function update(): void {
  const chosen = all<HTMLInputElement>("[data-pick]:checked").length;
  find("#bulk")?.toggleAttribute("hidden", chosen === 0);
  const count = find("#bulk-count");
  if (count) count.textContent = String(chosen);
}

document.addEventListener("change", (event) => {
  const box = event.target as HTMLInputElement;
  if (box.matches("[data-pick-all]")) for (const each of all<HTMLInputElement>("[data-pick]")) each.checked = box.checked;
  if (box.matches("[data-pick], [data-pick-all]")) update();
});
document.addEventListener("htmx:after:swap", update);

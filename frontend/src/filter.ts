// The box of the run filter: a suggestion completes what has been typed, and the next ones are asked for at once.
import { find } from "./page";

document.addEventListener("click", (event) => {
  const suggestion = (event.target as Element).closest<HTMLElement>("[data-completes]");
  const box = find<HTMLInputElement>("#run-filter");
  if (!suggestion || !box) return;
  event.preventDefault();
  box.value = suggestion.dataset.completes ?? "";
  box.focus();
  box.dispatchEvent(new Event("input", { bubbles: true }));
});

// The results of the search by keys: down and up go through them, Enter takes the first, Escape puts them away.
import { all, find } from "./page";

const box = find<HTMLInputElement>("[data-search]");
let isAwaited = false; // Enter was pressed, and what answers the text in the box has not come yet

function results(): HTMLElement[] {
  return all("#found a[href], #found button");
}

function putAway(): void {
  find("#found")?.replaceChildren();
  if (box) box.value = "";
}

function takeFirst(): void {
  isAwaited = find("#found [data-asked]")?.dataset.asked !== box?.value.trim();
  if (!isAwaited) results()[0]?.click();
}

function step(by: number): void {
  const found = results();
  const at = found.indexOf(document.activeElement as HTMLElement) + by;
  if (at < 0) box?.focus();
  else found[Math.min(at, found.length - 1)]?.focus();
}

find("[role=search]")?.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Escape") {
    putAway();
    box?.focus();
  } else if (event.key === "Enter" && event.target === box) {
    event.preventDefault();
    takeFirst();
  }
});

box?.addEventListener("input", () => {
  isAwaited = false;
});

document.addEventListener("htmx:after:swap", () => {
  if (isAwaited) takeFirst();
});

document.addEventListener("click", (event) => {
  const target = event.target as Element;
  if (target.closest("#found button")) {
    box?.focus(); // where the dialog gives the focus back to
    putAway();
  } else if (!target.closest("[role=search]")) find("#found")?.replaceChildren();
});

// Single keys, off while somebody types and where the visitor has switched them off (WCAG 2.1.4).
import { all, find } from "./page";

const TOGETHER_MS = 2_000;
let wentAt = -Infinity; // and not 0: a page that has just been loaded would take its first letter for the second

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable], .modal.show") !== null;
}

function move(by: number): void {
  const rows = all("[data-row]");
  const at = rows.indexOf(document.activeElement?.closest<HTMLElement>("[data-row]") ?? rows[0]!);
  const isOnRow = document.activeElement?.closest("[data-row]") !== null;
  rows[Math.max(0, Math.min(rows.length - 1, isOnRow ? at + by : 0))]?.focus();
}

function inRow(selector: string): HTMLElement | null {
  const row = document.activeElement?.closest<HTMLElement>("[data-row]");
  return row ? find(selector, row) : null;
}

const ACTIONS: Record<string, () => void> = {
  j: () => move(1),
  k: () => move(-1),
  x: () => inRow("[data-pick]")?.click(),
  e: () => inRow("[data-key=e]")?.click(),
  r: () => inRow("[data-key=r]")?.click(),
  t: () => find("[data-theme-switch]")?.click(),
  ".": () => find("#live")?.click(),
  "?": () => find("[data-keys-help]")?.click(),
  Enter: () => inRow("a[href]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    find("[data-search]")?.focus();
    return;
  }
  if (document.body.dataset.keys === "off" || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey)
    return;
  if (event.key === "Enter" && !(event.target as Element).matches("[data-row]")) return;
  if (event.key === "/") {
    event.preventDefault();
    find("[data-search]")?.focus();
  } else if (event.key === "g") wentAt = event.timeStamp;
  else if (event.timeStamp - wentAt < TOGETHER_MS) {
    wentAt = -Infinity;
    find<HTMLAnchorElement>(`[data-go="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key in ACTIONS) ACTIONS[event.key]?.();
  else find(`[data-shortcut="${CSS.escape(event.key)}"]`)?.click();
});

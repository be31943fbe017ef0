// How many alerts wait for somebody, in the title of the tab, and how many of them are critical, in its icon: seen while
// another tab is in front.
import { find } from "./page";

const MOST_SHOWN = 9;
const icon = find<HTMLLinkElement>("link[rel=icon]");
const ownIcon = icon?.href ?? "";
const ownTitle = document.title;

function drawn(count: string): string {
  const tile = '<rect width="32" height="32" rx="7" fill="#c92a2a"/>';
  const look = 'x="16" y="23" font-family="sans-serif" font-size="20" font-weight="700" text-anchor="middle" fill="#fff"';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${tile}<text ${look}>${count}</text></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function shown(count: string | undefined): string {
  return Number(count ?? 0) > MOST_SHOWN ? `${MOST_SHOWN}+` : (count ?? "0");
}

function update(): void {
  const counted = find("#open-alerts")?.dataset;
  const [all, critical] = [shown(counted?.count), shown(counted?.critical)];
  document.title = all === "0" ? ownTitle : `(${all}) ${ownTitle}`;
  if (icon) icon.href = critical === "0" ? ownIcon : drawn(critical);
}

update();
document.addEventListener("htmx:after:swap", (event) => {
  if ((event.target as Element).id === "open-alerts") update();
});

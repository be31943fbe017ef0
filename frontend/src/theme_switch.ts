// Goes round: as the system, light, dark. The choice stays in this browser.
import { find, words } from "./page";
import { toast } from "./toasts";

const CHOICES = ["auto", "light", "dark"];

function apply(choice: string): void {
  const isDark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-bs-theme", isDark ? "dark" : "light");
  document.dispatchEvent(new Event("ms:theme"));
}

find("[data-theme-switch]")?.addEventListener("click", () => {
  const present = CHOICES.indexOf(localStorage.getItem("ms-theme") ?? "auto");
  const next = CHOICES[(present + 1) % CHOICES.length] ?? "auto";
  localStorage.setItem("ms-theme", next);
  apply(next);
  toast({ words: words(`theme-${next}`) });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  apply(localStorage.getItem("ms-theme") ?? "auto");
});

// The sign-in form says in which zone this browser is.
const zone = find<HTMLInputElement>("[data-own-zone]");
if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

// The log of a run: it stays at its end while it is followed, and its lines are wrapped or not.
import { find } from "./page";

function follow(): void {
  const log = find("#run-log");
  if (log && find<HTMLInputElement>("#log-follow")?.checked) log.scrollTop = log.scrollHeight;
}

document.addEventListener("change", (event) => {
  const box = event.target as HTMLInputElement;
  if (box.id === "log-wrap") find("#run-log")?.classList.toggle("is-wrapped", box.checked);
  if (box.id === "log-follow") follow();
});
document.addEventListener("htmx:after:swap", () => {
  follow();
  find("#run-log")?.classList.toggle("is-wrapped", find<HTMLInputElement>("#log-wrap")?.checked ?? false);
});
follow();

// The log of a run: new lines come to its end, the oldest leave a page that has been open for long. It stays at its end
// while it is followed, stands still while it is paused, and its lines are wrapped or not. A part that was asked for from
// its top stays there.
import { find } from "./page";

const MOST_LINES = 2_000;

interface LogEnd {
  line: number;
}

interface RequestDetail {
  ctx: { sourceElement: Element };
}

const asking = new WeakSet<Element>();
const missed = new WeakSet<Element>();
const going = new WeakSet<RequestDetail["ctx"]>();

function isOn(box: string): boolean {
  return find<HTMLInputElement>(box)?.checked ?? false;
}

function follow(): void {
  const log = find("#run-log");
  if (log && isOn("#log-follow") && !log.classList.contains("is-from-top")) log.scrollTop = log.scrollHeight;
}

function forgetOldest(log: HTMLElement): void {
  if (log.childElementCount <= MOST_LINES) return;
  while (log.childElementCount > MOST_LINES) log.firstElementChild?.remove();
  const before = Number(find("[data-line]", log)?.dataset.line ?? 0);
  find("#log-earlier button:last-child")?.setAttribute("hx-vals", JSON.stringify({ before }));
  find("#log-earlier")?.removeAttribute("hidden");
}

function contextOf(event: Event): RequestDetail["ctx"] {
  return (event as CustomEvent<RequestDetail>).detail.ctx;
}

function sourceOf(event: Event): Element {
  return contextOf(event).sourceElement;
}

document.addEventListener("ms:log-end", (event) => {
  const after = (event as CustomEvent<LogEnd>).detail.line;
  (event.target as Element).setAttribute("hx-vals", JSON.stringify({ after }));
});
document.addEventListener("htmx:config:request", (event) => {
  const source = sourceOf(event);
  if (source.id !== "log-new") return;
  // While one answer is awaited it is not known after which line to ask.
  if (asking.has(source)) missed.add(source);
  if (asking.has(source) || isOn("#log-pause")) event.preventDefault();
  else asking.add(source);
});
document.addEventListener("htmx:finally:request", (event) => {
  const source = sourceOf(event);
  if (asking.delete(source) && missed.delete(source)) source.dispatchEvent(new Event("ms:log-resumed"));
});
document.addEventListener("change", (event) => {
  const box = event.target as HTMLInputElement;
  if (box.id === "log-wrap") find("#run-log")?.classList.toggle("is-wrapped", box.checked);
  if (box.id === "log-follow") {
    find("#run-log")?.classList.remove("is-from-top");
    follow();
  }
  if (box.id === "log-pause" && !box.checked) find("#log-new")?.dispatchEvent(new Event("ms:log-resumed"));
});
// The buttons of a part leave with it: whoever pressed one goes on with the keyboard in the lines that it brought.
document.addEventListener("htmx:before:swap", (event) => {
  const source = sourceOf(event);
  if (source === document.activeElement && source.matches("#run-lines button")) going.add(contextOf(event));
});
document.addEventListener("shown.bs.tab", follow); // what is hidden cannot be scrolled
document.addEventListener("htmx:after:swap", (event) => {
  const log = find("#run-log");
  if (!log) return;
  forgetOldest(log);
  follow();
  if (going.delete(contextOf(event))) log.focus({ preventScroll: true });
  log.classList.toggle("is-wrapped", isOn("#log-wrap"));
});

// Short news at the edge of the page, said once to screen readers; a server sends them by `HX-Trigger: ms:toast`.
import htmx from "htmx.org";
import { find, words } from "./page";

const SHOWN_MS = 10_000;

interface ResponseDetail {
  ctx: { swap: string; text: string };
}

interface Undo {
  path: string;
  form: Record<string, string | number>;
  words: string;
}

interface News {
  words: string;
  tone?: string;
  undo?: Undo;
}

function undoButton(undo: Undo, shown: HTMLElement): HTMLElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-sm ms-2";
  button.textContent = undo.words;
  button.addEventListener("click", () => {
    void htmx.ajax("POST", undo.path, { swap: "none", values: undo.form });
    shown.remove();
  });
  return button;
}

export function toast(news: News): void {
  const place = find("#toasts");
  const template = find<HTMLTemplateElement>("#toast-template");
  const shown = template?.content.firstElementChild?.cloneNode(true) as HTMLElement | undefined;
  if (!place || !shown) return;
  shown.classList.add(`toast-${news.tone ?? "ok"}`);
  const text = find("[data-toast-words]", shown);
  if (text) text.textContent = news.words;
  if (news.undo) shown.querySelector(".toast-body")?.append(" ", undoButton(news.undo, shown));
  find("[data-toast-close]", shown)?.addEventListener("click", () => shown.remove());
  place.append(shown);
  setTimeout(() => shown.remove(), SHOWN_MS);
}

document.body.addEventListener("ms:toast", (event) => toast((event as CustomEvent<News>).detail));
document.addEventListener("click", (event) => {
  (event.target as Element).closest("[data-toast-close]")?.closest(".toast")?.remove();
});

// What was done without a dialog, such as an undo, has no other place to say why it was refused.
document.addEventListener("htmx:response:error", (event) => {
  const { swap, text } = (event as CustomEvent<ResponseDetail>).detail.ctx;
  if (swap !== "none") return;
  const answer = new DOMParser().parseFromString(text, "text/html");
  toast({ words: find("[role=alert]", answer)?.textContent?.trim() || words("failed"), tone: "bad" });
});

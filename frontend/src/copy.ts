// `data-copy` copies a text; pages on plain HTTP have no clipboard, so that a hidden field does it there.
import { words } from "./page";
import { toast } from "./toasts";

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", (event) => {
  const button = (event.target as Element).closest<HTMLElement>("[data-copy]");
  if (button) void copy(button.dataset.copy ?? "").then(() => toast({ words: words("copied") }));
});

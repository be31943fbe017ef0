// One dialog for all: the server sends its content into #dialog-content, and it opens; `data-close-dialog` closes it.
import { Modal } from "@tabler/core";
import { find } from "./page";

const element = find("#dialog");
const modal = element && (Modal.getOrCreateInstance(element) as Modal);
let opener: HTMLElement | null = null;

function content(): HTMLElement | null {
  return find("#dialog-content");
}

if (element && modal) {
  document.addEventListener("htmx:after:swap", () => {
    if (content()?.childElementCount && !element.classList.contains("show")) {
      opener = document.activeElement as HTMLElement | null;
      modal.show();
    }
  });
  element.addEventListener("shown.bs.modal", () => {
    (find("[data-autofocus]", element) ?? find("input, select, textarea, button", element))?.focus();
  });
  element.addEventListener("hidden.bs.modal", () => {
    content()?.replaceChildren();
    opener?.focus();
  });
  // An action that succeeded says so by a header, and its dialog is no longer needed.
  document.body.addEventListener("ms:close-dialog", () => modal.hide());
  document.addEventListener("click", (event) => {
    if ((event.target as Element).closest("[data-close-dialog]")) modal.hide();
  });
}

// A critical action is confirmed by typing the name of what it concerns.
document.addEventListener("input", (event) => {
  const typed = event.target as HTMLInputElement;
  if (!typed.matches("[data-must-equal]")) return;
  const button = typed.form?.querySelector<HTMLButtonElement>("[type=submit]");
  if (button) button.disabled = typed.value !== typed.dataset.mustEqual;
});

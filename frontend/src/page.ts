// What the server said of this page, on its root element.
export const base = document.documentElement.dataset.base ?? "";

export function find<Found extends Element = HTMLElement>(selector: string, root: ParentNode = document): Found | null {
  return root.querySelector<Found>(selector);
}

export function all<Found extends Element = HTMLElement>(selector: string, root: ParentNode = document): Found[] {
  return [...root.querySelectorAll<Found>(selector)];
}

export function words(name: string): string {
  return find<HTMLTemplateElement>("#words")?.content.querySelector(`[data-word="${name}"]`)?.textContent ?? name;
}

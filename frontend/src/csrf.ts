// Says with each request of htmx that it comes from a page of ours: another site cannot read the token.
import { find } from "./page";

interface RequestDetail {
  ctx: { request: { headers: Record<string, string> } };
}

document.addEventListener("htmx:config:request", (event) => {
  const token = find<HTMLMetaElement>("meta[name=csrf-token]")?.content;
  if (token) (event as CustomEvent<RequestDetail>).detail.ctx.request.headers["X-CSRF-Token"] = token;
});

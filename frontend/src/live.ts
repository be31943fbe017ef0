// One socket tells which topics have changed; fragments listen for them as events (`hx-trigger="ms:runs from:body"`).
// Nothing is asked for in a hidden tab. Where no socket is let through there are server-sent events, and where these
// are not either, the page asks again every ten seconds, and looks for a better way every thirty.
import { base, find, words } from "./page";

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
const POLL_MS = 10_000;
const SOCKETS_TO_TRY = 3;

interface Told {
  event: "resync" | "changed" | "heartbeat";
  topics: string[];
}

const topics = (document.body.dataset.topics ?? "").split(" ").filter(Boolean);
let failures = 0;
let isPaused = false;
let hangUp: () => void = () => undefined;
let timer = 0;

function show(state: "live" | "reconnecting" | "paused" | "polling"): void {
  const badge = find("#live");
  if (!badge) return;
  badge.dataset.state = state;
  const text = find("[data-live-words]", badge);
  if (text) text.textContent = words(`live-${state}`);
  badge.setAttribute("aria-pressed", String(isPaused));
}

function tell(told: Told): void {
  // A page watches at most one run: `run:<id>` is heard as `ms:run`.
  for (const topic of told.topics) document.body.dispatchEvent(new CustomEvent(`ms:${topic.split(":")[0]}`));
}

function again(): void {
  show("reconnecting");
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++);
  timer = window.setTimeout(connect, wait);
}

function bySocket(): () => void {
  const address = new URL(`${base}/live`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.onopen = () => {
    show("live");
    socket.send(JSON.stringify({ topics }));
  };
  socket.onmessage = (message) => {
    failures = 0; // and not when it opens: some proxies open a socket, and let nothing through
    tell(JSON.parse(message.data as string) as Told);
  };
  socket.onclose = () => {
    if (hangUp === close) again();
  };
  const close = () => socket.close();
  return close;
}

function byEvents(): () => void {
  const source = new EventSource(`${base}/live/events?topics=${topics.join(",")}`);
  let endPolling: (() => void) | undefined;
  source.onopen = () => {
    endPolling?.();
    endPolling = undefined;
    show("live");
  };
  source.onmessage = (message) => tell(JSON.parse(message.data as string) as Told);
  source.onerror = () => {
    endPolling ??= poll();
  };
  return () => {
    source.close();
    endPolling?.();
  };
}

function poll(): () => void {
  const ask = () => tell({ event: "resync", topics });
  show("polling");
  ask();
  const asking = window.setInterval(ask, POLL_MS);
  timer = window.setTimeout(() => {
    stop();
    resume();
  }, LONGEST_WAIT_MS);
  return () => {
    window.clearInterval(asking);
    window.clearTimeout(timer);
  };
}

function connect(): void {
  hangUp = failures < SOCKETS_TO_TRY ? bySocket() : byEvents();
}

function stop(): void {
  window.clearTimeout(timer);
  const end = hangUp;
  hangUp = () => undefined;
  end();
}

function resume(): void {
  if (document.hidden || isPaused) return;
  failures = 0;
  connect();
}

if (topics.length > 0) {
  resume();
  document.addEventListener("visibilitychange", () => {
    stop();
    if (document.hidden || isPaused) return;
    resume();
  });
  find("#live")?.addEventListener("click", () => {
    isPaused = !isPaused;
    stop();
    show(isPaused ? "paused" : "reconnecting");
    resume();
  });
}

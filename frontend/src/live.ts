// One socket tells which topics have changed; fragments listen for them as events (`hx-trigger="ms:runs from:body"`).
// Nothing is asked for in a hidden tab. Without a socket there are server-sent events, and then polling.
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

function show(state: "live" | "reconnecting" | "paused"): void {
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
    failures = 0;
    show("live");
    socket.send(JSON.stringify({ topics }));
  };
  socket.onmessage = (message) => tell(JSON.parse(message.data as string) as Told);
  socket.onclose = () => {
    if (hangUp === close) again();
  };
  const close = () => socket.close();
  return close;
}

function byEvents(): () => void {
  const source = new EventSource(`${base}/live/events?topics=${topics.join(",")}`);
  source.onopen = () => show("live");
  source.onmessage = (message) => tell(JSON.parse(message.data as string) as Told);
  let polling = 0;
  source.onerror = () => {
    show("reconnecting");
    polling ||= window.setInterval(() => tell({ event: "resync", topics }), POLL_MS);
  };
  return () => {
    source.close();
    window.clearInterval(polling);
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

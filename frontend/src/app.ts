// Everything that a page of the dashboard does in the browser: one line for each part.
import htmx from "htmx.org";
import { Collapse, Dropdown, Tab } from "@tabler/core";
import "./csrf";
import "./dialogs";
import "./toasts";
import "./copy";
import "./badge";
import "./choose";
import "./cron";
import "./filter";
import "./keys";
import "./live";
import "./palette";
import "./logs";
import "./theme_switch";

void [Collapse, Dropdown, Tab]; // they listen for their data-bs attributes
// By itself it begins with a timer, after the keys above: a letter typed until then would click what does nothing yet.
htmx.initialize();

if (document.querySelector("canvas[data-chart]")) void import("./charts");
document.body.addEventListener("htmx:after:swap", () => {
  if (document.querySelector("canvas[data-chart]")) void import("./charts");
});

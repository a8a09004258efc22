// Which view is shown, and what comes by itself: the events of now and of the status.
import { $, clock, number, state } from "./format.js";
import { prepareHistory, showHistory } from "./history.js";
import { showNow } from "./now.js";
import { prepareRefused, showRefused } from "./refused.js";
import { showStream } from "./stream.js";
import { prepareTruth, showTruth } from "./truth.js";

const views = document.body.dataset.views.split(" ");
const opened = {
  now: () => latest.now && showNow(latest.now),
  stream: () => latest.status && showStream(latest.status),
  history: showHistory,
  refused: showRefused,
  truth: showTruth,
};
const TRUTH_EVERY = 10_000,
  OLD_SECONDS = 60;
const latest = { now: null, status: null };
let lastSeen = 0,
  view = "";

function route() {
  const wanted = location.hash.slice(1).split("?")[0];
  view = views.includes(wanted) ? wanted : "now";
  for (const link of document.querySelectorAll("nav a")) {
    const name = link.hash.slice(1);
    link.hidden = !views.includes(name);
    $(`view-${name}`).hidden = name !== view;
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  opened[view]();
}

function aboutStream() {
  const consumer = latest.status?.apps[1];
  const behind =
    consumer?.lag_records === null
      ? "lag unknown"
      : consumer?.lag_records
        ? `${number(consumer.lag_records)} records behind`
        : "nothing behind";
  $("behind").textContent = latest.status
    ? `stored, of the last seconds; ${behind}`
    : "stored, of the last seconds";
  const old =
    latest.status &&
    (consumer.lag_seconds > OLD_SECONDS ||
      !["running", "caught_up", "behind", "standby"].includes(consumer.state));
  document.body.classList.toggle("old", Boolean(old));
  return old
    ? `: the consumer is ${consumer.state.replaceAll("_", " ")}, ${behind}`
    : latest.status && consumer.lag_seconds > 5
      ? `, ${behind}`
      : "";
}

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("now", (event) => {
    latest.now = JSON.parse(event.data);
    lastSeen = Date.now();
    Object.assign(state, { zone: latest.now.timezone, currency: latest.now.currency });
    for (const node of document.querySelectorAll(".currency")) node.textContent = state.currency;
    $("trouble").hidden = true;
    $("asof").textContent =
      `as of ${clock(Date.parse(latest.now.as_of))} ${latest.now.timezone}${aboutStream()}`;
    if (view === "now") showNow(latest.now);
  });
  source.addEventListener("status", (event) => {
    latest.status = JSON.parse(event.data);
    if (view === "stream") showStream(latest.status);
  });
  source.addEventListener("trouble", (event) => {
    lastSeen = Date.now();
    $("trouble").hidden = false;
    $("trouble").textContent = event.data;
  });
}

setInterval(() => {
  const stale = Date.now() - lastSeen > 5000,
    trouble = !$("trouble").hidden;
  document.body.classList.toggle("stale", lastSeen > 0 && (stale || trouble));
  document.body.classList.toggle("live", !stale && !trouble);
  if (stale && lastSeen > 0)
    $("asof").textContent = `no news since ${clock(lastSeen)} ${state.zone}: these figures are old`;
}, 1000);
setInterval(() => {
  if (view === "truth" && !$("verify").disabled) showTruth();
}, TRUTH_EVERY);
addEventListener("hashchange", route);
prepareHistory();
prepareRefused();
prepareTruth();
route();
listen();

// Which view is shown, and the server-sent events with the live figures and the status.
import { $ } from "./dom.js";
import { clock, deployment, number, words } from "./format.js";
import { isVerifying, prepareDataQuality, showDataQuality } from "./data-quality.js";
import { listen } from "./events.js";
import { prepareHistory, showHistory } from "./history.js";
import { showNow } from "./now.js";
import { prepareRecords } from "./records.js";
import { prepareRefused, refreshRefused, showRefused } from "./refused.js";
import { prepareSql, showSql } from "./sql.js";
import { isUp, showStream } from "./stream.js";

const REFRESH_MILLISECONDS = 10_000;
const STALE_MILLISECONDS = 5_000; // ten events that did not come
const OLD_SECONDS = 60;
const SHORT_LAG_SECONDS = 5;

// Names of views that were renamed, because people keep addresses.
const RENAMED = { refused: "rejected", truth: "verified" };

const views = document.body.dataset.views.split(" ");
const latest = { now: null, status: null };
const received = new Map(); // text by name, not yet shown
let lastEventAt = 0,
  view = "";

const showView = {
  now: () => latest.now && showNow(latest.now),
  stream: () => latest.status && showStream(latest.status),
  history: showHistory,
  rejected: showRefused,
  verified: showDataQuality,
  sql: showSql,
};

function route() {
  const asked = location.hash.slice(1).split("?")[0],
    name = RENAMED[asked] ?? asked;
  view = views.includes(name) ? name : "now";
  for (const link of document.querySelectorAll("nav a")) markLink(link);
  // Back from another view, the range and all else that was chosen is there again.
  if (view === "history")
    document.querySelector("nav a[aria-current]").setAttribute("href", location.hash || "#history");
  showView[view]();
}

function markLink(link) {
  const name = link.hash.slice(1).split("?")[0],
    isShown = name === view;
  link.hidden = !views.includes(name);
  $(`view-${name}`).hidden = !isShown;
  if (isShown) {
    link.setAttribute("aria-current", "page");
    document.title = name === "now" ? "purchases" : `${link.textContent} – purchases`;
  } else link.removeAttribute("aria-current");
}

function lagText({ lag_records: records }) {
  if (records === null) return "lag unknown";
  return records ? `not yet counted: ${number(records)}` : "all counted";
}

// Shows how far the consumer is behind; returns what the header says of it.
function showLag() {
  const consumer = latest.status?.apps[1];
  $("behind").textContent = consumer ? `stored; ${lagText(consumer)}` : "stored";
  const isOld = consumer && (consumer.lag_seconds > OLD_SECONDS || !isUp(consumer));
  document.body.classList.toggle("old", Boolean(isOld));
  if (isOld) return `: the consumer is ${words(consumer.state)}, ${lagText(consumer)}`;
  return consumer?.lag_seconds > SHORT_LAG_SECONDS ? `, ${lagText(consumer)}` : "";
}

function receiveNow(now) {
  latest.now = now;
  Object.assign(deployment, { zone: now.timezone, currency: now.currency });
  for (const node of document.querySelectorAll(".currency")) node.textContent = now.currency;
  $("trouble").hidden = true;
  $("as-of").textContent = `as of ${clock(Date.parse(now.as_of))} ${now.timezone}${showLag()}`;
  if (view === "now") showNow(now);
}

function receiveStatus(status) {
  latest.status = status;
  if (view === "stream") showStream(status);
}

function receiveTrouble(text) {
  $("trouble").hidden = false;
  $("trouble").textContent = text;
}

const receivers = {
  now: (data) => receiveNow(JSON.parse(data)),
  status: (data) => receiveStatus(JSON.parse(data)),
  trouble: receiveTrouble,
};

// A tab that draws slower than events come draws the newest of each name, so that none queues up.
function receive({ name, data, at }) {
  lastEventAt = at;
  if (!received.size) requestAnimationFrame(showReceived);
  received.delete(name);
  received.set(name, data);
}

function showReceived() {
  const newest = [...received];
  received.clear();
  for (const [name, data] of newest) receivers[name](data);
}

// While a tab is hidden no event comes, which must not look like a server that is gone.
function greet() {
  if (lastEventAt) lastEventAt = Date.now();
}

function markStale() {
  const isStale = Date.now() - lastEventAt > STALE_MILLISECONDS,
    isInTrouble = !$("trouble").hidden;
  document.body.classList.toggle("stale", lastEventAt > 0 && (isStale || isInTrouble));
  document.body.classList.toggle("live", !isStale && !isInTrouble);
  if (isStale && lastEventAt > 0)
    $("as-of").textContent =
      `no data since ${clock(lastEventAt)} ${deployment.zone}: these figures are old`;
}

setInterval(markStale, 1000);
setInterval(() => {
  if (view === "verified" && !isVerifying()) showDataQuality();
  if (view === "rejected") refreshRefused();
}, REFRESH_MILLISECONDS);
addEventListener("hashchange", route);
prepareHistory();
prepareRecords();
prepareRefused();
prepareDataQuality();
prepareSql();
route();
listen(receive, greet);

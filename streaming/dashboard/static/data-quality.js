// Verified: what was verified, and how each table and each of its days stands against the stream.
import { $, fillRows, freshnessBadge, make, makeCell, nameCell, numberCell } from "./dom.js";
import { fillCalendar } from "./calendar.js";
import { day, moment, number, plural, tableTitle } from "./format.js";
import { request } from "./api.js";

const DEFAULT_TABLE = "daily_sales";
const LATE_MILLISECONDS = 30 * 60 * 1000; // of a summary, which is built again within ten minutes
const STATES = {
  current: { className: "current", text: "current" },
  provisional: { className: "provisional", text: "day not closed yet" },
  behind: { className: "late", text: "updating" },
  failed: { className: "failed", text: "build failed" },
  missing: { className: "missing", text: "not built yet" },
};

// Dagster's address while it runs.
let dagster = null;

// Dagster listens on loopback only, so that only visitors from there can open it. Under the name by
// which they came, because a session is one of that name.
function reachableDagster(url) {
  if (!url || !["127.0.0.1", "localhost", "[::1]"].includes(location.hostname)) return null;
  const { port } = new URL(url);
  return `http://${location.hostname === "localhost" ? "localhost" : "127.0.0.1"}:${port}`;
}

const dagsterUrl = (table, date) =>
  `${dagster}/assets/${table}${date ? `?view=partitions&partition=${date}` : ""}`;

function dagsterLink(table) {
  if (!dagster) return "";
  const node = make("a", "open");
  node.href = dagsterUrl(table);
  node.setAttribute("aria-label", `${table} in Dagster`);
  return node;
}

// The address names a table if the visitor comes from Dagster.
const tableOfAddress = () =>
  new URLSearchParams(location.hash.split("?")[1] ?? "").get("table") ?? DEFAULT_TABLE;

// Today grows with every purchase, and so do the summaries: only what lasts is late.
function tableBadge(table) {
  const { failed, behind_days: days, missing_days: missing, built_at: at } = table;
  const badge = freshnessBadge(table),
    isFresh = days > 0 || Date.now() - Date.parse(at) < LATE_MILLISECONDS;
  if (!failed && !missing && days <= 1 && isFresh) badge.classList.replace("late", "provisional");
  return badge;
}

function showTables(tables) {
  $("tables").classList.toggle("no-dagster", !dagster);
  fillRows("tables", tables, (table) => [
    nameCell(tableTitle(table.table), table.table),
    makeCell(tableBadge(table)),
    numberCell(number(table.partitions)),
    numberCell(number(table.behind)),
    numberCell(number(table.provisional_days)),
    numberCell(number(table.failed)),
    make("td", moment(table.built_at)),
    makeCell(dagsterLink(table.table)),
  ]);
}

// A table that is one partition has no days.
function fillTableOptions(tables) {
  if ($("table").options.length) return;
  const names = tables
    .filter((table) => table.partitions !== 1 || table.behind_days)
    .map((table) => table.table)
    .filter((name) => !name.endsWith("summary"));
  $("table").replaceChildren(...names.map((name) => new Option(tableTitle(name), name)));
  $("table").value = names.includes(tableOfAddress()) ? tableOfAddress() : names[0];
}

export async function showDataQuality() {
  try {
    const answer = await request("tables");
    dagster = reachableDagster(answer.dagster);
    showTables(answer.tables);
    fillTableOptions(answer.tables);
    showVerifications(answer.verifications);
    await showCalendar();
  } catch (error) {
    setVerdict(error.message, "bad");
  }
}

function setVerdict(text, kind) {
  $("verified").textContent = text;
  $("verified").className = `verdict ${kind}`;
}

function showLastVerification(last) {
  if (!last) {
    setVerdict("Never verified yet.", "");
    $("verified-more").textContent =
      "Counts every figure again from the events, and follows every purchase that Kafka still has.";
    return;
  }
  setVerdict(
    last.agrees ? "Everything agrees." : "Something does not agree.",
    last.agrees ? "good" : "bad",
  );
  $("verified-more").textContent =
    `Last verified ${moment(last.finished_at)}.` + (last.agrees ? "" : ` ${last.differences[0]}`);
}

function showVerifications(verifications) {
  showLastVerification(verifications[0]);
  $("verifications").parentNode.hidden = !verifications.length;
  fillRows("verifications", verifications, ({ finished_at: at, agrees, differences }) => [
    make("td", moment(at)),
    make("td", agrees ? "everything agrees" : differences.join(" "), agrees ? "up" : "down"),
  ]);
}

function describeDay(standing) {
  const { behind, failure, version, built_version: built, built_at: at } = standing;
  return [
    `${day(standing.day)}: ${STATES[standing.state].text}`,
    behind ? `, ${plural(behind, "event")} missing` : "",
    failure ? ` (${failure})` : "",
    `, day version ${number(version)}, built version ${number(built)}`,
    at ? ` of ${moment(at)}` : "",
  ].join("");
}

function makeDay(table, standing, isNewest) {
  const { className } = STATES[isNewest && standing.state === "behind" ? "provisional" : standing.state];
  const node = make(dagster ? "a" : "span", undefined, `cell ${className}`);
  const text = describeDay(standing);
  node.textContent = Number(standing.day.slice(-2));
  if (dagster) node.href = dagsterUrl(table, standing.day);
  else node.setAttribute("role", "img");
  node.setAttribute("aria-label", text);
  node.title = text;
  node.onfocus = node.onmouseenter = node.onclick = () => ($("day-detail").textContent = text);
  return node;
}

async function showCalendar() {
  const table = $("table").value;
  if (!table) return;
  // Without a range, all days that have events; they are days of the deployment's zone.
  const { days } = await request(`tables/${table}`);
  fillCalendar($("calendar"), days, (standing) => makeDay(table, standing, standing === days.at(-1)));
  if (!days.length) $("day-detail").textContent = "No day has events yet.";
}

async function verify() {
  $("verify").disabled = true;
  setVerdict("Verifying …", "");
  try {
    await request("verify", {});
    await showDataQuality();
  } catch (error) {
    setVerdict(error.message, "bad");
  }
  $("verify").disabled = false;
}

export const isVerifying = () => $("verify").disabled;

export function prepareDataQuality() {
  $("table").onchange = showCalendar;
  $("verify").onclick = verify;
}

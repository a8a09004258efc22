// Single records on Stream: a look into a topic, the path of a purchase, and a test purchase.
// All of it is personal data, so that nothing is shown before somebody asks.
import { $, fillRows, make, makeButton, makeCell, numberCell } from "./dom.js";
import { clock, day, duration, localDay, moment, number, plural, tableTitle } from "./format.js";
import { request } from "./api.js";

const EVENT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const STORED_WITHIN_MILLISECONDS = 30_000;
const LOOK_AGAIN_MILLISECONDS = 500;
const OPENED_LIMIT = 1;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function say(id, text) {
  $(id).textContent = text;
}

function showPeek({ records, scanned, complete }) {
  $("peeked").hidden = !records.length;
  const looked = `${plural(scanned, "record")} looked at`;
  say(
    "peek-result",
    records.length
      ? `${number(records.length)} shown, ${looked}${complete ? "" : "; there are more"}.`
      : `No record fits, ${looked}.`,
  );
  fillRows("peeked", records.toReversed(), (record) => [
    make("td", timeText(record.timestamp)),
    numberCell(`${record.partition} : ${record.offset}`),
    make("td", record.key ?? "none"),
    makeCell(makeValue(record)),
  ]);
}

function timeText(text) {
  if (!text) return "no time";
  const ms = Date.parse(text);
  return `${day(localDay(ms), { exact: false })}, ${clock(ms)}`;
}

function makeValue({ value, value_bytes: size, headers }) {
  const node = make("pre", value ?? "no value");
  node.tabIndex = 0;
  if (!headers.length) return node;
  const lines = headers.map(([name, content]) => `${name}: ${content ?? "none"}`);
  node.append(make("small", `\n${plural(size, "byte")}\n${lines.join("\n")}`));
  return node;
}

async function peekInto(options) {
  say("peek-result", "…");
  try {
    showPeek(await request("topics/peek", options));
  } catch (error) {
    say("peek-result", error.message);
  }
}

function peekAsAsked(event) {
  event.preventDefault();
  const options = { topic: $("peek-topic").value };
  if ($("peek-key").value) options.key = $("peek-key").value;
  // Without an offset, a time is in the deployment's zone.
  if ($("peek-since").value) options.since = `${$("peek-since").value}:00`.slice(0, 19);
  if ($("peek-offset").value) options.offset = $("peek-offset").value.replaceAll(" ", "");
  peekInto(options);
}

// Shows the record itself, in the part of the view that shows records.
function openRecord(topic, partition, offset) {
  $("peek-topic").value = topic;
  $("peek-offset").value = `${partition}:${offset}`;
  $("peek-key").value = $("peek-since").value = "";
  $("peek").scrollIntoView({ block: "nearest" });
  peekInto({ topic, offset: `${partition}:${offset}`, limit: OPENED_LIMIT });
}

function recordStep(topic, partition, offset, text) {
  const node = make("li");
  const name = `${topic}-${partition} at ${number(offset)}`;
  node.append(makeButton(name, "link", () => openRecord(topic, partition, offset)), ` ${text}`);
  return node;
}

function buildText({ table, current, built_at: at }) {
  return `${tableTitle(table)}: ${current ? "has it" : "updating"}, built ${moment(at)}`;
}

function makePath(path) {
  const node = make("article", undefined, "path");
  const took = (Date.parse(path.processed_at) - Date.parse(path.received_at)) / 1e3 || 0;
  node.append(
    make("h3", `${number(path.quantity)} × ${path.item}${path.amount ? ` for ${path.amount}` : ""}`),
    make("p", `${path.event_id}, ${path.user ?? "guest"}, ${moment(path.event_time)}`, "foot"),
  );
  const steps = make("ol");
  steps.append(
    recordStep(
      "purchases",
      path.source_partition,
      path.source_offset,
      path.received_at ? `took it ${moment(path.received_at)}` : "took it",
    ),
    recordStep(
      "analytics",
      path.stream_partition,
      path.stream_offset,
      `has it, enriched after ${duration(Math.max(0, took))}`,
    ),
    make("li", `the database has it, as a ${path.kind} of ${path.day}`),
    ...path.builds.map((build) => make("li", buildText(build))),
  );
  if (!path.builds.length) steps.append(make("li", "no table has its day yet"));
  node.append(steps);
  return node;
}

function showPaths({ purchases, refused }, name) {
  const parts = [plural(purchases.length, "purchase")];
  if (refused.length) parts.push(`${number(refused.length)} refused under this key`);
  say("path-result", purchases.length || refused.length ? `${parts.join(", ")}.` : noPath(name));
  $("paths").replaceChildren(...purchases.map(makePath));
}

const noPath = (name) =>
  EVENT_ID.test(name)
    ? "No stored purchase has this event id. It may be on its way, or refused."
    : "None of the newest 200,000 purchases has this user or order.";

const findPaths = (name) =>
  request("purchases/path", EVENT_ID.test(name) ? { event_id: name.toLowerCase() } : { name });

async function showPathAsAsked(event) {
  event.preventDefault();
  const name = $("path-name").value.trim();
  say("path-result", "…");
  try {
    showPaths(await findPaths(name), name);
  } catch (error) {
    say("path-result", error.message);
  }
}

// Follows the purchase until it is stored, as whoever sends it would by hand.
async function sendTestPurchase() {
  $("test-purchase").disabled = true;
  say("path-result", "Sending …");
  const began = performance.now();
  try {
    const { records } = await request("purchases/test", {});
    const name = records[0].event_id;
    $("path-name").value = name;
    let paths = await findPaths(name);
    while (!paths.purchases.length && performance.now() - began < STORED_WITHIN_MILLISECONDS) {
      await pause(LOOK_AGAIN_MILLISECONDS);
      paths = await findPaths(name);
    }
    showPaths(paths, name);
    const seconds = duration((performance.now() - began) / 1e3);
    if (paths.purchases.length) say("path-result", `Stored ${seconds} after it was sent.`);
  } catch (error) {
    say("path-result", error.message);
  }
  $("test-purchase").disabled = false;
}

export function prepareRecords() {
  $("peek").onsubmit = peekAsAsked;
  $("path").onsubmit = showPathAsAsked;
  $("test-purchase").onclick = sendTestPurchase;
}

// Stream: the pipeline and its health, from the `status` event that comes every few seconds.
import { $, fillFacts, fillRows, make, numberCell } from "./dom.js";
import { request } from "./api.js";
import { makeChart } from "./chart.js";
import { bytes, clock, decimal, deployment, duration, number, plural, words } from "./format.js";

const UP_STATES = ["running", "caught_up", "behind", "standby"];
const SHORT_LAG_SECONDS = 5;
const TOPICS = ["purchases", "analytics"];
const HOUR_MILLISECONDS = 10_000;
let lastEnd = null,
  hour = null,
  hourAskedAt = 0;

export const isUp = (app) => UP_STATES.includes(app.state);

function lagText(app) {
  if (app.lag_records === null) return "lag unknown";
  return app.lag_records
    ? `lag ${plural(app.lag_records, "record")}, ${duration(app.lag_seconds)}`
    : "no lag";
}

function catchUpText(app) {
  if (!app.lag_records || app.lag_seconds < SHORT_LAG_SECONDS) return "";
  return app.seconds_to_drain === null
    ? "does not catch up"
    : `catches up in ${duration(app.seconds_to_drain)}`;
}

// `kind` is the class of the state: good, late or bad.
function makeStage(title, state, kind, ...lines) {
  const node = make("div", undefined, "stage");
  node.append(
    make("strong", title),
    make("span", state, `state ${kind}`),
    ...lines.map((line) => make("p", line)),
  );
  return node;
}

const goodIf = (condition) => (condition ? "good" : "bad");
const isAnswering = (status) => status.broker.state === "answering";

const sumOf = ({ partitions }, topic, figure) =>
  partitions.filter((p) => p.topic.endsWith(topic)).reduce((sum, p) => sum + p[figure], 0);

const endOffset = (status, topic) => sumOf(status, topic, "end");

// Producers report nothing, so that their rate is how fast the topic's end moves.
function producerRate(status) {
  const at = Date.parse(status.as_of),
    end = endOffset(status, TOPICS[0]),
    last = lastEnd;
  if (!last || at > last.at) {
    const rate = last ? Math.max(0, ((end - last.end) / (at - last.at)) * 1e3) : null;
    lastEnd = { at, end, rate };
  }
  return lastEnd.rate;
}

function producersStage(status) {
  const rate = producerRate(status);
  if (!isAnswering(status)) return makeStage("producers", "unknown", "bad");
  // One end offset alone has no rate.
  if (rate === null) return makeStage("producers", "…", "good");
  return makeStage("producers", rate ? "sending" : "quiet", "good", `${decimal(rate)} per second`);
}

function topicStage(status, topic) {
  const state = { answering: "available", down: "broker down" }[status.broker.state];
  return makeStage(
    topic,
    state ?? "topic missing",
    goodIf(isAnswering(status)),
    `${plural(sumOf(status, topic, "held_records"), "record")} kept`,
    `end offset ${number(endOffset(status, topic))}`,
  );
}

function appStage(title, app) {
  return makeStage(
    title,
    words(app.state),
    goodIf(isUp(app)),
    `${decimal(app.in_per_second)} per second`,
    lagText(app),
    catchUpText(app),
  );
}

function databaseStage({ database }) {
  return makeStage(
    "database",
    database.state,
    goodIf(database.state === "ok"),
    plural(database.events ?? 0, "event"),
    `${number(database.refused ?? 0)} refused`,
  );
}

function tablesStage({ days_behind: days, failed_builds: failed }) {
  if (failed) return makeStage("tables", "failed", "bad", `${plural(failed, "build")} failed`);
  // Today grows with every purchase; one day to build is as current as tables can be.
  if (days <= 1) return makeStage("tables", "current", "good", days ? "today is updating" : "");
  return makeStage("tables", "updating", "late", `${plural(days, "day")} to build`);
}

function showPipeline(status) {
  const [processor, consumer] = status.apps,
    tables = status.sections?.tables?.figures;
  $("pipeline").replaceChildren(
    producersStage(status),
    topicStage(status, TOPICS[0]),
    appStage("processor", processor),
    topicStage(status, TOPICS[1]),
    appStage("consumer", consumer),
    databaseStage(status),
    ...(tables ? [tablesStage(tables)] : []),
  );
}

function showVerdict({ verdict, healthy, problems }) {
  $("verdict").textContent = verdict;
  $("verdict").className = `verdict ${goodIf(healthy)}`;
  $("problems").replaceChildren(
    ...problems.map(({ sentence, remedy }) => {
      const line = make("li", sentence === verdict ? "" : sentence);
      line.append(make("small", remedy));
      return line;
    }),
  );
}

function showWorkers({ apps }) {
  const slots = apps.flatMap((app) => app.slots.map((slot) => ({ app: app.app, ...slot })));
  fillRows("slots", slots, (slot) => [
    make("td", slot.name),
    make("td", words(slot.state) + (slot.detail ? `: ${slot.detail}` : "")),
    numberCell(decimal(slot.in_per_second)),
    numberCell(slot.restarts ?? "–"),
    numberCell(duration(slot.uptime_seconds)),
  ]);
}

function showPartitions({ partitions }) {
  fillRows("partitions", partitions, (p) => [
    make("td", `${p.topic}-${p.partition}`),
    numberCell(number(p.position)),
    numberCell(
      number(p.lag_records) + (p.hidden_records ? ` + ${number(p.hidden_records)} hidden` : ""),
    ),
    numberCell(p.lag_seconds === null ? "?" : decimal(p.lag_seconds)),
  ]);
}

// A replay's rate is none of the shop: nothing is projected before ten minutes have passed.
function fullText({ days_until_full: days, stored_per_second: rate }) {
  if (days !== null) return plural(Math.round(days), "day");
  return rate === null ? "not known yet" : "not at this rate";
}

function showContents({ prices, unknown_fields: fields }) {
  $("without-price").textContent = prices.purchases
    ? `${decimal(prices.share * 100)} % of the last ${plural(prices.purchases, "purchase")} came without a price.`
    : "No purchase came lately.";
  fillRows("unknown-fields", fields, ({ name, purchases, meant }) => [
    make("td", name),
    numberCell(number(purchases)),
    make("td", meant ? `did you mean ${meant}?` : ""),
  ]);
  $("unknown-fields").hidden = fields.length === 0;
}

function showStorage({ disk, database, broker }) {
  fillFacts("storage", [
    ["Database", bytes(database.bytes ?? 0)],
    [
      "Per million events",
      disk.bytes_per_million_events === null ? "not known yet" : bytes(disk.bytes_per_million_events),
    ],
    ...(document.body.dataset.database === "postgresql"
      ? [["Free in the home", bytes(disk.free_bytes)]]
      : [
          ["Free on its disk", bytes(disk.free_bytes)],
          ["Disk full in", fullText(disk)],
        ]),
    ["Duplicates skipped", number(database.duplicates ?? 0)],
    ["Broker", broker.bootstrap_servers ?? "none"],
  ]);
}

const HOUR_SERIES = [
  { label: "processor", color: "--accent", kind: "area", show: (v) => `${decimal(v)} per second` },
  { label: "consumer", color: "--second", kind: "area", show: (v) => `${decimal(v)} per second` },
  { label: "lag", color: "--amber", kind: "line", scale: "rate", show: (v) => duration(v) },
];

// In the first minutes several ticks are within one minute, which is labelled once.
function hourLabel(second, exact) {
  if (exact) return clock(second * 1e3);
  return second % 60 ? "" : clock(second * 1e3, { seconds: false });
}

function drawHour(samples) {
  hour ??= makeChart($("hour"), {
    series: HOUR_SERIES,
    x: hourLabel,
    left: decimal,
    right: (value) => `${decimal(value)} s`,
    zone: () => deployment.zone,
    table: { caption: "Throughput and lag of the last hour", head: "Time" },
  });
  const rates = (app) => samples.map(({ apps }) => apps[app].in_per_second);
  const lags = samples.map(({ apps }) => Math.max(...apps.map((app) => app.lag_seconds)));
  hour.set([samples.map(({ at }) => at), rates(0), rates(1), lags]);
  // What nobody sampled is not known: the dashboard did not run.
  const isWhole = samples.at(-1).at - samples[0].at > 3500;
  $("hour-since").textContent = isWhole ? "" : `since ${clock(samples[0].at * 1e3)}`;
}

async function showHour() {
  if (Date.now() - hourAskedAt < HOUR_MILLISECONDS) return;
  hourAskedAt = Date.now();
  try {
    const { samples } = await request("last-hour");
    if (samples.length) drawHour(samples);
  } catch {
    // The next status asks again; what else is wrong is said above.
  }
}

export function showStream(status) {
  showHour();
  showVerdict(status);
  showPipeline(status);
  showWorkers(status);
  showPartitions(status);
  showStorage(status);
  showContents(status);
}

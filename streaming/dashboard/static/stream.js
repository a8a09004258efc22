// The pipeline as it is, from the `status` event that comes every few seconds.
import { $, bytes, decimal, duration, make, number, rows } from "./format.js";

const FINE = ["running", "caught_up", "behind", "standby"];
let seen = null;

const words = (text) => text.replaceAll("_", " ");
const lag = (app) =>
  app.lag_records === null
    ? "lag unknown"
    : app.lag_records
      ? `${number(app.lag_records)} behind, ${duration(app.lag_seconds)}`
      : "nothing behind";
const drain = (app) =>
  !app.lag_records || app.lag_seconds < 5
    ? ""
    : app.seconds_to_drain === null
      ? "does not catch up"
      : `caught up in ${duration(app.seconds_to_drain)}`;

// `good` is true, false, or the class of a state between.
function stage(title, said, good, ...lines) {
  const node = make("div", undefined, "stage");
  node.append(
    make("strong", title),
    make("span", said, "state " + (good === true ? "good" : good || "bad")),
    ...lines.map((line) => make("p", line)),
  );
  return node;
}

// What came into the topic, by how its end moved between two looks.
function incoming(found, end) {
  const at = Date.parse(found.as_of),
    last = seen;
  if (!seen || at > seen.at)
    seen = {
      at,
      end,
      rate: last && at > last.at ? Math.max(0, ((end - last.end) / (at - last.at)) * 1e3) : 0,
    };
  return seen.rate;
}

export function showStream(found) {
  const [processor, analytics] = found.apps,
    fine = (app) => FINE.includes(app.state);
  const broker = found.broker.state === "answering",
    store = found.database.state === "ok";
  const unseen = found.broker.state === "down" ? "broker down" : "topic missing";
  const end = (topic) =>
    found.partitions.filter((p) => p.topic.endsWith(topic)).reduce((sum, p) => sum + p.end, 0);
  const topic = (name) =>
    stage(name, broker ? "topic" : unseen, broker, `${number(end(name))} offsets`);
  const coming = incoming(found, end("purchases"));
  const tables = found.sections?.tables?.figures;
  $("verdict").textContent = found.verdict;
  $("verdict").className = "verdict " + (found.healthy ? "good" : "bad");
  $("problems").replaceChildren(
    ...found.problems.map((problem) => {
      const line = make("li", problem.sentence === found.verdict ? "" : problem.sentence);
      line.append(make("small", problem.remedy));
      return line;
    }),
  );
  $("pipeline").replaceChildren(
    stage(
      "producers",
      broker ? (coming ? "sending" : "quiet") : "unknown",
      broker,
      `${decimal(coming)} per second`,
    ),
    topic("purchases"),
    stage(
      "processor",
      words(processor.state),
      fine(processor),
      `${decimal(processor.in_per_second)} per second`,
      lag(processor),
      drain(processor),
    ),
    topic("analytics"),
    stage(
      "consumer",
      words(analytics.state),
      fine(analytics),
      `${decimal(analytics.in_per_second)} per second`,
      lag(analytics),
      drain(analytics),
    ),
    stage(
      "database",
      found.database.state,
      store,
      `${number(found.database.events ?? 0)} events`,
      `${number(found.database.refused ?? 0)} refused`,
    ),
    ...(tables
      ? [
          stage(
            "tables",
            tables.failed_builds ? "failed" : tables.days_behind > 1 ? "behind" : "current",
            tables.failed_builds ? false : tables.days_behind > 1 ? "late" : true,
            tables.days_behind === 1
              ? "today is being counted"
              : `${number(tables.days_behind)} days behind`,
            tables.failed_builds ? `${number(tables.failed_builds)} builds failed` : "",
          ),
        ]
      : []),
  );
  rows(
    "slots",
    found.apps.flatMap((app) => app.slots.map((slot) => ({ app: app.app, ...slot }))),
    (slot) => [
      make("td", `${slot.app}-${slot.slot}`),
      make("td", words(slot.state) + (slot.detail ? `: ${slot.detail}` : "")),
      make("td", decimal(slot.in_per_second), "n"),
      make("td", slot.restarts ?? "–", "n"),
      make("td", duration(slot.uptime_seconds), "n"),
    ],
  );
  rows("partitions", found.partitions, (p) => [
    make("td", `${p.topic}-${p.partition}`),
    make("td", number(p.position), "n"),
    make(
      "td",
      number(p.lag_records) + (p.hidden_records ? ` + ${number(p.hidden_records)} hidden` : ""),
      "n",
    ),
    make("td", p.lag_seconds === null ? "?" : decimal(p.lag_seconds), "n"),
  ]);
  const disk = found.disk,
    facts = [
      ["Database", bytes(found.database.bytes ?? 0)],
      [
        "A million events take",
        disk.bytes_per_million_events === null
          ? "unknown yet"
          : bytes(disk.bytes_per_million_events),
      ],
      ["Free on its disk", bytes(disk.free_bytes)],
      [
        "Full in",
        disk.days_until_full === null
          ? "not at this rate"
          : `${number(Math.round(disk.days_until_full))} days`,
      ],
      ["Known already, not stored twice", number(found.database.duplicates ?? 0)],
      ["Broker", found.broker.bootstrap_servers ?? "none"],
    ];
  $("room").replaceChildren(
    ...facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
  );
}

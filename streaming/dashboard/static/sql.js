// A question in SQL. What it may do and how long is decided by the server.
import { $, fillAnswer, make } from "./dom.js";
import { number, plural } from "./format.js";
import { request, send } from "./api.js";

const ON_POSTGRES = document.body.dataset.database === "postgresql";
const UTC = ON_POSTGRES
  ? "to_timestamp(event_time / 1000000) AT TIME ZONE 'UTC'"
  : "datetime(event_time / 1000000, 'unixepoch')";
const EXAMPLES = {
  Days: `SELECT day, events, items_sold, net_revenue_micros / 1000000 AS net_revenue
FROM day_ledger ORDER BY day DESC LIMIT 30`,
  "Most sold items": `SELECT item, items_sold, events
FROM live_item_totals ORDER BY items_sold DESC LIMIT 20`,
  "Newest purchases": `SELECT ${UTC} AS utc, item, quantity,
  amount_micros / 1e6 AS amount, "user", country
FROM analytics_event ORDER BY event_time DESC LIMIT 20`,
  "Hours of the day, UTC": `SELECT event_time / 3600000000 % 24 AS hour, count(*) AS events
FROM analytics_event GROUP BY hour ORDER BY hour`,
  "Returns by item": `SELECT item, -sum(quantity) AS returned
FROM analytics_event WHERE kind = 'return'
GROUP BY item ORDER BY returned DESC LIMIT 20`,
  "Refused by reason": `SELECT reason, state, count(*) AS records
FROM dead_letter GROUP BY reason, state ORDER BY records DESC`,
  "Tables and views": ON_POSTGRES
    ? `SELECT table_type, table_name FROM information_schema.tables
WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY table_name`
    : `SELECT type, name FROM sqlite_schema
WHERE type IN ('table', 'view') ORDER BY name`,
  "Columns of a table": ON_POSTGRES
    ? `SELECT column_name, data_type FROM information_schema.columns
WHERE table_name = 'analytics_event' ORDER BY ordinal_position`
    : `SELECT sql FROM sqlite_schema WHERE name = 'analytics_event'`,
};
const CUT = { rows: "; there are more", bytes: "; more would be over 16 MiB" };

let isAsking = false, // a question is under way
  isAskedAgain = false; // and the text was asked again meanwhile

const say = (text) => ($("sql-result").textContent = text);

function show({ columns, rows, cut }) {
  $("sql-answer").hidden = false;
  fillAnswer("sql-table", columns, rows);
  say(`${plural(rows.length, "row")}${cut ? CUT[cut] : ""}.`);
}

async function ask() {
  say("…");
  const started = performance.now();
  try {
    const answer = await request("sql", { sql: $("sql-text").value });
    if (isAskedAgain) return;
    show(answer);
    $("sql-result").append(` ${number(Math.round(performance.now() - started))} ms`);
  } catch (error) {
    $("sql-answer").hidden = true;
    say(error.message);
  }
}

// One at a time, because the server answers few at once, and an older answer must not come last.
async function run(event) {
  event?.preventDefault();
  isAskedAgain = isAsking;
  if (isAsking) return;
  isAsking = true;
  do {
    isAskedAgain = false;
    await ask();
  } while (isAskedAgain);
  isAsking = false;
}

async function download() {
  try {
    const response = await send("sql", { sql: $("sql-text").value, csv: true });
    const link = make("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = "answer.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message);
  }
}

function runExample() {
  $("sql-text").value = EXAMPLES[$("sql-example").value];
  run();
}

// Whoever comes for the first time sees what a question and its answer look like.
export function showSql() {
  if (!$("sql-text").value) runExample();
}

export function prepareSql() {
  $("sql-example").append(...Object.keys(EXAMPLES).map((name) => make("option", name)));
  $("sql-example").onchange = runExample;
  $("sql").onsubmit = run;
  $("sql-csv").onclick = download;
  $("sql-text").onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  };
}

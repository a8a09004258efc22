// How each table stands against the stream, day by day, and what was verified.
import { $, ask, badge, day, make, moment, number, rows } from "./format.js";

const STATES = {
  current: "current",
  provisional: "provisional",
  behind: "late",
  failed: "failed",
  missing: "missing",
};
let dagster = null;

function link(table, partition) {
  if (!dagster) return make("span", "not running", "soft");
  const node = make("a", "open");
  node.href =
    `${dagster}/assets/${table}` + (partition ? `?view=partitions&partition=${partition}` : "");
  node.setAttribute("aria-label", `${table} in Dagster`);
  return node;
}

// Which table the address names, as a link from Dagster does.
const wanted = () =>
  new URLSearchParams(location.hash.split("?")[1] ?? "").get("table") ?? "daily_sales";
const cell = (content) => {
  const node = make("td");
  node.append(content);
  return node;
};

export async function showTruth() {
  try {
    const found = await ask("tables");
    dagster = found.dagster;
    rows("tables", found.tables, (table) => [
      make("td", table.table),
      cell(badge(table)),
      make("td", number(table.partitions), "n"),
      make("td", number(table.behind), "n"),
      make("td", number(table.provisional_days), "n"),
      make("td", number(table.failed), "n"),
      make("td", moment(table.built_at)),
      cell(link(table.table)),
    ]);
    const days = found.tables
      .filter((table) => table.partitions !== 1 || table.behind_days)
      .map((table) => table.table)
      .filter((name) => !name.endsWith("summary"));
    if (!$("table").options.length) {
      $("table").replaceChildren(...days.map((name) => new Option(name, name)));
      $("table").value = days.includes(wanted()) ? wanted() : days[0];
    }
    verified(found.verifications);
    await showCalendar();
  } catch (error) {
    $("verified").textContent = error.message;
  }
}

function verified(runs) {
  const [last] = runs;
  $("verified").className = "verdict " + (!last ? "" : last.agrees ? "good" : "bad");
  $("verified").textContent = !last
    ? "Never verified yet."
    : last.agrees
      ? "Everything agrees."
      : "Something does not agree.";
  $("verified-more").textContent = !last
    ? "Recounts every figure from the events, and follows every purchase that Kafka still holds."
    : `Last verified ${moment(last.finished_at)}.` + (last.agrees ? "" : ` ${last.differences[0]}`);
  $("verifications").parentNode.hidden = !runs.length;
  rows("verifications", runs, (run) => [
    make("td", moment(run.finished_at)),
    make(
      "td",
      run.agrees ? "everything agrees" : run.differences.join(" "),
      run.agrees ? "up" : "down",
    ),
  ]);
}

async function showCalendar() {
  const name = $("table").value;
  if (!name) return;
  const last = new Date().toISOString().slice(0, 10),
    first = new Date(Date.now() - 399 * 864e5).toISOString().slice(0, 10);
  const found = await ask(`tables/${name}?${new URLSearchParams({ from: first, to: last })}`);
  $("calendar").replaceChildren(
    ...found.days.map((one) => {
      const node = make(dagster ? "a" : "span", undefined, `cell ${STATES[one.state]}`);
      const text = `${day(one.day)}: ${one.state}${one.behind ? ` by ${number(one.behind)} events` : ""}${one.failure ? ` (${one.failure})` : ""}, ledger version ${number(one.version)}, build ${number(one.built_version)}${one.built_at ? ` of ${moment(one.built_at)}` : ""}`;
      if (dagster) node.href = `${dagster}/assets/${name}?view=partitions&partition=${one.day}`;
      node.setAttribute("aria-label", text);
      if (!dagster) node.setAttribute("role", "img");
      node.title = text;
      node.onfocus = node.onmouseenter = () => {
        $("day-said").textContent = text;
      };
      return node;
    }),
  );
}

export function prepareTruth() {
  $("table").onchange = showCalendar;
  $("verify").onclick = async () => {
    $("verify").disabled = true;
    $("verified").className = "verdict";
    $("verified").textContent = "Reading everything …";
    try {
      await ask("verify", {});
      await showTruth();
    } catch (error) {
      $("verified").textContent = error.message;
      $("verified").className = "verdict bad";
    }
    $("verify").disabled = false;
  };
}

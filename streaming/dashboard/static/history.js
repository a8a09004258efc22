// History: any range of days. What is shown is in the address, so that it can be kept and sent.
import { $, fillComparisons, fillPager, freshnessBadge, make, makeButton } from "./dom.js";
import { nameCell, numberCell } from "./dom.js";
import { amount, compact, day, decimal, deployment, money, number, plural } from "./format.js";
import { utcDay } from "./format.js";
import { request } from "./api.js";
import { makeChart } from "./chart.js";

const DAY = 864e5;
const HOUR = 36e5;
const LIMIT = 10;
const MEASURES = {
  net_revenue: "Net revenue",
  items_sold: "Items sold",
  orders: "Orders",
  customers: "Customers",
};
const SUBJECTS = ["item", "country", "customer"];
const TABLE_OF_SUBJECT = { item: "daily_item_sales", country: "daily_country_sales" };
const rankings = {
  items: { subject: "item", order: "items_sold", offset: 0 },
  countries: { subject: "country", order: "items_sold", offset: 0 },
  customers: { subject: "customer", order: "net_revenue", offset: 0 },
};
let chart = null,
  shown = null, // the series on the screen
  requests = 0;

const parseDay = (text) => Date.parse(`${text}T00:00:00Z`);
const addressQuery = () => new URLSearchParams(location.hash.split("?")[1] ?? "");
const subjectOf = (query) => SUBJECTS.find((name) => query.has(name));
const lengthInDays = ({ first, last }) =>
  Math.round((parseDay(last) - parseDay(first)) / DAY) + 1;
const shiftDay = (text, days) => utcDay(parseDay(text) + days * DAY);

// Changes the address, which shows what it names; null removes a parameter.
function go(changes) {
  const query = addressQuery();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  location.hash = `history?${query}`;
}

const showAll = () => go({ item: null, country: null, customer: null });
const showOnly = (subject, name) =>
  go({ item: null, country: null, customer: null, [subject]: name });

function pickParameters(query, names) {
  return new URLSearchParams(
    names.filter((name) => query.has(name)).map((name) => [name, query.get(name)]),
  );
}

function measured(point, measure) {
  return measure === "net_revenue" ? point.net_revenue_micros / 1e6 : (point[measure] ?? 0);
}

// The measure of each day or hour of a range, 0 if nothing happened.
function valuesOf(series, { step, count, measure }) {
  const values = new Array(count).fill(0);
  for (const point of series.points) {
    // An hour is local; without its offset the hours of each day are 0 to 23.
    const at = step === HOUR ? Date.parse(`${point.at.slice(0, 16)}Z`) : parseDay(point.at);
    values[Math.floor((at - parseDay(series.first)) / step)] += measured(point, measure);
  }
  return values;
}

// Puts the range before over the same times as the range.
function chartData(series, before, by, measure) {
  const step = by === "hours" ? HOUR : DAY,
    count = (lengthInDays(series) * DAY) / step,
    start = parseDay(series.first);
  const options = { step, count, measure };
  return [
    Array.from({ length: count }, (_, i) => (start + i * step) / 1e3),
    before.points.length ? valuesOf(before, options) : new Array(count).fill(null),
    valuesOf(series, options),
  ];
}

function axisLabel(second, exact = false) {
  const time = new Date(second * 1e3).toISOString(),
    [date, hour] = [day(time.slice(0, 10), { exact }), time.slice(11, 16)];
  if ($("by").value !== "hours") return date;
  if (exact) return `${date}, ${hour}`;
  return hour === "00:00" ? date : hour;
}

function pickRange(from, to) {
  go({ from: utcDay(from * 1e3), to: utcDay(Math.max(from, to) * 1e3) });
}

function chartSeries(by, measure) {
  const show = measure === "net_revenue" ? amount : number,
    isHourly = by === "hours";
  return [
    {
      label: "the range before",
      color: isHourly ? "--second" : "--before",
      kind: isHourly ? "line" : "backdrop",
      show,
    },
    { label: "this range", color: "--accent", kind: isHourly ? "area" : "bars", show },
  ];
}

function drawChart(series, before, by, measure) {
  const lines = chartSeries(by, measure);
  chart ??= makeChart($("h-chart"), {
    series: lines,
    x: axisLabel,
    left: compact,
    zone: () => "UTC",
    pick: pickRange,
  });
  chart.set(chartData(series, before, by, measure), lines);
  $("h-before").className = `key ${by === "hours" ? "second dashed" : "before"}`;
  $("h-chart").setAttribute(
    "aria-label",
    `${$("h-title").textContent} from ${day(series.first)} to ${day(series.last)}`,
  );
}

// A shop is closed on some days; they would make the average of the others too small.
function ordersPerDay({ points }) {
  const days = new Set(points.map((point) => point.at.slice(0, 10))).size;
  return days ? points.reduce((sum, point) => sum + point.orders, 0) / days : 0;
}

function showTile(name, text, value, before, days) {
  const label = `the ${plural(days, "day")} before`.replace("the 1 day", "the day");
  $(`h-${name}`).textContent = text;
  fillComparisons(`h-${name}-compare`, value, [{ before, label, none: `no data for ${label}` }]);
}

function showTiles(series, before) {
  const days = lengthInDays(series),
    [total, totalBefore] = [series.total, before.total];
  const show = (name, text, value, valueBefore) => showTile(name, text, value, valueBefore, days);
  show(
    "revenue",
    money(total.net_revenue),
    total.net_revenue_micros,
    totalBefore.net_revenue_micros,
  );
  show("items", number(total.items_sold), total.items_sold, totalBefore.items_sold);
  show("events", number(total.events), total.events, totalBefore.events);
  show("orders", decimal(ordersPerDay(series)), ordersPerDay(series), ordersPerDay(before));
}

function showRangeControls(query, series) {
  $("from").value = series.first;
  $("to").value = series.last;
  $("measure").value = query.get("measure") ?? "net_revenue";
  $("by").value = query.get("by") ?? "days";
  for (const button of document.querySelectorAll("[data-days]"))
    button.setAttribute("aria-pressed", Number(button.dataset.days) === lengthInDays(series));
}

function showSubject(query) {
  const subject = subjectOf(query);
  $("by").disabled = Boolean(subject);
  $("measure").querySelector("[value=customers]").disabled = subject === "customer";
  $("subject").replaceChildren(...(subject ? [makeChip(subject, query.get(subject))] : []));
  const step = $("by").value === "hours" ? "hour" : "day";
  $("h-title").textContent =
    `${MEASURES[$("measure").value]} by ${step}` +
    (subject ? `: ${subject} ${query.get(subject) || "none"}` : "");
}

function setExports(query, series) {
  const table =
    TABLE_OF_SUBJECT[subjectOf(query)] ??
    ($("by").value === "hours" ? "hourly_sales" : "daily_sales");
  // Who clicks on CSV opens it in a spreadsheet, which would compute what others named their items.
  for (const [link, format] of [["csv", "spreadsheet"], ["parquet", "parquet"]])
    $(link).href =
      `/api/v1/export/${table}?from=${series.first}&to=${series.last}&format=${format}`;
}

function makeChip(subject, name) {
  const node = makeButton(`${subject} ${name || "none"} ×`, "chip", showAll);
  node.setAttribute("aria-label", `show all again instead of ${subject} ${name}`);
  return node;
}

// Returns the series that the address names, and that of as many days before.
async function requestSeries(query, by) {
  const parameters = pickParameters(query, ["from", "to", ...SUBJECTS]);
  const series = await request(`${by}?${parameters}`);
  parameters.set("from", shiftDay(series.first, -lengthInDays(series)));
  parameters.set("to", shiftDay(series.first, -1));
  return [series, await request(`${by}?${parameters}`)];
}

export async function showHistory() {
  const thisRequest = ++requests,
    query = addressQuery(),
    by = subjectOf(query) ? "days" : (query.get("by") ?? "days");
  try {
    const [series, before] = await requestSeries(query, by);
    // Whoever clicks fast gets the answer to the last click.
    if (thisRequest !== requests) return;
    showSeries(query, series, before, by);
    await Promise.all(Object.keys(rankings).map(showRanking));
    $("history-error").hidden = true;
  } catch (error) {
    $("history-error").hidden = false;
    $("history-error").textContent = error.message;
  }
}

function showSeries(query, series, before, by) {
  shown = series;
  Object.assign(deployment, { zone: series.timezone, currency: series.currency });
  showRangeControls(query, series);
  showSubject(query);
  setExports(query, series);
  showTiles(series, before);
  drawChart(series, before, by, $("measure").value);
  $("h-freshness").replaceChildren(freshnessBadge(series.standing));
}

function rankingQuery(name) {
  const { order, offset } = rankings[name];
  // Customers are ranked by all that they bought, because no table has them by day.
  const range = name === "customers" ? {} : { from: shown.first, to: shown.last };
  return new URLSearchParams({ order, limit: LIMIT, offset, ...range });
}

function rankingRow(name, entry, index, firstFigure) {
  const { subject, offset } = rankings[name],
    subjectName = entry.name ?? entry.user;
  const row = make("tr");
  row.append(
    make("td", number(entry.rank ?? offset + index + 1)),
    nameCell(subjectName || "none", entry.description, () => showOnly(subject, subjectName)),
    numberCell(number(entry[firstFigure])),
    numberCell(money(entry.net_revenue)),
  );
  return row;
}

async function showRanking(name) {
  const ranking = rankings[name],
    table = $(`h-${name}-table`),
    orderButtons = [...table.querySelectorAll("[data-order]")];
  const answer = await request(`${name}?${rankingQuery(name)}`);
  const entries = answer.ranked ?? answer.customers,
    firstFigure = orderButtons[0].dataset.order;
  table.tBodies[0].replaceChildren(
    ...entries.map((entry, index) => rankingRow(name, entry, index, firstFigure)),
  );
  for (const button of orderButtons)
    button.parentNode.setAttribute(
      "aria-sort",
      button.dataset.order === ranking.order ? "descending" : "none",
    );
  $(`${name}-total`).textContent =
    number(answer.total) + (name === "customers" ? ", all time" : "");
  $(`${name}-freshness`).replaceChildren(freshnessBadge(answer.standing));
  const page = { offset: ranking.offset, limit: LIMIT, count: entries.length };
  fillPager(`${name}-pager`, { ...page, next: answer.next_offset }, (offset) => {
    ranking.offset = offset;
    showRanking(name);
  });
}

function prepareRange() {
  for (const button of document.querySelectorAll("[data-days]"))
    button.onclick = () => {
      const to = shown ? parseDay(shown.last) : Date.now();
      go({ from: utcDay(to - (Number(button.dataset.days) - 1) * DAY), to: utcDay(to) });
    };
  const move = (sign) => {
    if (!shown) return;
    const days = sign * lengthInDays(shown);
    go({ from: shiftDay(shown.first, days), to: shiftDay(shown.last, days) });
  };
  $("earlier").onclick = () => move(-1);
  $("later").onclick = () => move(1);
  $("range").onsubmit = (event) => event.preventDefault();
}

// The other end follows, so that a range is never in the wrong order.
function changeEnd(id, other, isBeyond) {
  const value = $(id).value;
  if (value) go({ [id]: value, [other]: isBeyond(value, $(other).value) ? value : $(other).value });
}

function prepareSort(name, button) {
  button.onclick = () => {
    Object.assign(rankings[name], { order: button.dataset.order, offset: 0 });
    if (shown) showRanking(name);
  };
}

export function prepareHistory() {
  prepareRange();
  $("from").onchange = () => changeEnd("from", "to", (from, to) => from > to);
  $("to").onchange = () => changeEnd("to", "from", (to, from) => to < from);
  $("measure").onchange = () => go({ measure: $("measure").value });
  $("by").onchange = () => go({ by: $("by").value });
  for (const name of Object.keys(rankings))
    for (const button of $(`h-${name}-table`).querySelectorAll("[data-order]"))
      prepareSort(name, button);
}

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
const REFRESH = 10_000;
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
  return measure === "net_revenue" ? point.net_revenue_micros / 1e6 : point[measure];
}

// The measure of each day or hour of a range, 0 if nothing happened, null in a day that is not
// built. Of such days `unbuilt` has what the stream counted, NaN if nothing is known of them.
function valuesOf(series, { step, count, measure }) {
  const values = new Array(count).fill(0),
    unbuilt = new Array(count).fill(null),
    slotOf = (time) => Math.floor((time - parseDay(series.first)) / step);
  for (const date of series.not_built) {
    const slot = slotOf(parseDay(date));
    values.fill(null, slot, slot + DAY / step);
    unbuilt.fill(NaN, slot, slot + DAY / step);
  }
  for (const point of series.points) {
    // An hour is local; without its offset the hours of each day are 0 to 23.
    const at = step === HOUR ? Date.parse(`${point.at.slice(0, 16)}Z`) : parseDay(point.at),
      value = measured(point, measure);
    if (value === null) continue;
    if (point.built) values[slotOf(at)] += value;
    else unbuilt[slotOf(at)] = value;
  }
  return { values, unbuilt };
}

// A day of which nothing is known is hatched to the top.
function heightsOf(unbuilt, others) {
  const highest = Math.max(1e-9, ...[...others, ...unbuilt].filter((value) => value > 0));
  return unbuilt.map((value) => (Number.isNaN(value) ? highest : value));
}

// Puts the range before over the same times as the range.
function chartData(series, before, by, measure) {
  const step = by === "hours" ? HOUR : DAY,
    count = (lengthInDays(series) * DAY) / step,
    start = parseDay(series.first);
  const options = { step, count, measure },
    { values, unbuilt } = valuesOf(series, options),
    earlier = valuesOf(before, options),
    ofBefore = earlier.values.map((value, i) => value ?? (earlier.unbuilt[i] || null));
  return {
    unbuilt,
    data: [
      Array.from({ length: count }, (_, i) => (start + i * step) / 1e3),
      before.points.length ? ofBefore : new Array(count).fill(null),
      values,
      heightsOf(unbuilt, [...ofBefore, ...values]),
    ],
  };
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

function chartSeries(by, measure, unbuilt) {
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
    {
      label: "not built yet",
      color: "--accent",
      kind: "hatched",
      show: (value) => (Number.isNaN(value) ? "no figure" : show(value)),
      raw: unbuilt,
    },
  ];
}

function drawChart(series, before, by, measure) {
  const { data, unbuilt } = chartData(series, before, by, measure),
    lines = chartSeries(by, measure, unbuilt);
  chart ??= makeChart($("h-chart"), {
    series: lines,
    x: axisLabel,
    left: compact,
    zone: () => "UTC",
    pick: pickRange,
  });
  chart.set(data, lines);
  $("h-unbuilt").hidden = !series.not_built.length;
  $("h-before").className = `key ${by === "hours" ? "second dashed" : "before"}`;
  $("h-chart").setAttribute(
    "aria-label",
    `${$("h-title").textContent} from ${day(series.first)} to ${day(series.last)}`,
  );
}

// A shop is closed on some days; they would make the average of the others too small.
function ordersPerDay({ points }) {
  const built = points.filter((point) => point.built),
    days = new Set(built.map((point) => point.at.slice(0, 10))).size;
  return days ? built.reduce((sum, point) => sum + point.orders, 0) / days : 0;
}

// Whether the additive figures have all days: what the stream counted of those not built.
const isWhole = ({ points, not_built: unbuilt }) =>
  points.filter((point) => !point.built).length === unbuilt.length;
const isBuilt = (series) => !series.not_built.length;

// A figure without some days is neither shown as if it had them, nor compared.
function showTile(name, text, [value, before], [series, earlier], isKnown) {
  const days = lengthInDays(series),
    missing = series.not_built.length,
    label = `the ${plural(days, "day")} before`.replace("the 1 day", "the day");
  if (!isKnown(series)) {
    const hasSome = series.points.some((point) => point.built);
    $(`h-${name}`).textContent = hasSome ? text : "–";
    $(`h-${name}-compare`).textContent = `without ${plural(missing, "day")} not built yet`;
    return;
  }
  $(`h-${name}`).textContent = text;
  const none = isKnown(earlier) ? `no data for ${label}` : `${label}: not built yet`;
  fillComparisons(`h-${name}-compare`, value, [
    { before: isKnown(earlier) ? before : null, label, none },
  ]);
}

function showTiles(series, before) {
  const both = [series, before],
    totals = (field) => both.map(({ total }) => total[field]),
    { net_revenue: revenue, items_sold: items, events } = series.total;
  showTile("revenue", money(revenue), totals("net_revenue_micros"), both, isWhole);
  showTile("items", number(items), totals("items_sold"), both, isWhole);
  showTile("events", number(events), totals("events"), both, isWhole);
  showTile("orders", decimal(ordersPerDay(series)), both.map(ordersPerDay), both, isBuilt);
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
    if (!isBuilt(series)) setTimeout(() => thisRequest === requests && refresh(), REFRESH);
  } catch (error) {
    $("history-error").hidden = false;
    $("history-error").textContent = error.message;
  }
}

// While days are being built they come to the page by themselves.
function refresh() {
  if (!$("view-history").hidden && !document.hidden) showHistory();
  else setTimeout(refresh, REFRESH);
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
  const { missing_days: missing, built_at: built, behind } = answer.standing,
    isMissing = missing || (built === null && behind),
    page = {
      offset: ranking.offset,
      limit: LIMIT,
      count: entries.length,
      none: isMissing ? "not built yet" : "none",
    };
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

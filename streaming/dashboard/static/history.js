// History: any days, of the shop or of an item, a country and a customer, against other days.
import { $, fillComparisons, lateBadges } from "./dom.js";
import { day, deployment, localDay, money, number, plural, utcDay } from "./format.js";
import { request } from "./api.js";
import { DAY, PERIODS, go, lengthInDays, parseDay, readAddress, shiftDay } from "./history-address.js";
import { MEASURES, percent, drawHoursOfWeek, drawSeries } from "./history-chart.js";
import { LISTS, prepareLists, rangeParameters, showChips, showList, showOrder, subjectText } from "./history-lists.js";
import { prepareOwnTable, showOwnTable } from "./own-table.js";
import { prepareSearch } from "./search-box.js";

const REFRESH_MILLISECONDS = 10_000;
const REFRESH_SHARE = 50; // of the time that the answers took: an open tab takes 2 % of a core at most
const YEAR_OF_WEEKS = 364;
const MAX_HOURLY_DAYS = 400;
const MICROS = 1e6;
let shown = null, // the series on the screen
  requests = 0;

// One customer's customers are no figure.
const hasMeasure = ({ subject }, measure) => measure !== "customers" || !("customer" in subject);

function addressNow() {
  const address = readAddress(Object.keys(MEASURES), LISTS);
  return hasMeasure(address, address.measure) ? address : { ...address, measure: "net_revenue" };
}

// The days that a range is compared with. A year ago the same weekdays, because a shop's Saturday is
// no Sunday; by month the same months.
function comparedRange({ first, last }, { compare, by }) {
  if (compare === "before")
    return { first: shiftDay(first, -lengthInDays({ first, last })), last: shiftDay(first, -1) };
  if (by !== "month")
    return { first: shiftDay(first, -YEAR_OF_WEEKS), last: shiftDay(last, -YEAR_OF_WEEKS) };
  const yearAgo = (text) => `${Number(text.slice(0, 4)) - 1}${text.slice(4)}`.replace("-02-29", "-02-28");
  return { first: yearAgo(first), last: yearAgo(last) };
}

function comparedLabel(range, { compare }) {
  if (compare === "year") return "the same days last year";
  return `the ${plural(lengthInDays(range), "day")} before`.replace("the 1 day", "the day");
}

const pathOf = ({ by }) => (by === "hour" || by === "weekhour" ? "hours" : "days");

function requestSeries(address, parameters) {
  if (pathOf(address) === "days") parameters.set("by", address.by);
  return request(`${pathOf(address)}?${parameters}`);
}

// Returns the series that the address names, and the one that it is compared with or null.
async function requestBoth(address) {
  const parameters = new URLSearchParams(address.subject);
  for (const end of ["from", "to"]) if (address[end]) parameters.set(end, address[end]);
  const series = await requestSeries(address, parameters);
  if (address.compare === "none") return [series, null];
  const range = comparedRange(series, address);
  return [series, await requestSeries(address, rangeParameters(address, range))];
}

// Whether the additive figures have all days: what the stream counted of those not built.
const isWhole = ({ points, not_built: unbuilt }) =>
  points.filter((point) => !point.built).length >= unbuilt.length;
const isBuilt = (series) => !series.not_built.length;
const sumOf = (field) => ({ points }) => points.reduce((sum, point) => sum + (point[field] ?? 0), 0);

const hasToday = ({ last }) => last >= localDay(Date.now());

const ordersOf = (series) => series.distinct?.orders ?? sumOf("orders")(series);
const averageOf = (series) => (ordersOf(series) ? series.total.net_revenue_micros / ordersOf(series) : 0);
// Counted from the events, they need no build.
const hasOrders = (series) => Boolean(series.distinct) || isBuilt(series);
const hasRevenuePerOrder = (series) => hasOrders(series) && isWhole(series);
function returnsOf({ total: { gross_revenue_micros: gross, net_revenue_micros: net } }) {
  return gross ? (gross - net) / gross : 0;
}

// Each tile: its figure as text, as a number to compare, and whether a range has it.
const TILES = {
  revenue: [({ total }) => money(total.net_revenue), ({ total }) => total.net_revenue_micros, isWhole],
  orders: [(series) => number(ordersOf(series)), ordersOf, hasOrders],
  average: [
    // Revenue without some days over the orders of all of them would be no average.
    (series) => (hasRevenuePerOrder(series) ? money((averageOf(series) / MICROS).toFixed(2)) : "–"),
    averageOf,
    hasRevenuePerOrder,
  ],
  items: [({ total }) => number(total.items_sold), ({ total }) => total.items_sold, isWhole],
  events: [({ total }) => number(total.events), ({ total }) => total.events, isWhole],
  customers: [
    ({ distinct }) => (distinct ? number(distinct.customers) : "–"),
    ({ distinct }) => distinct.customers,
    ({ distinct }) => Boolean(distinct),
  ],
  new: [
    ({ distinct }) => number(distinct.new_customers),
    ({ distinct }) => distinct.new_customers,
    ({ distinct }) => Number.isInteger(distinct?.new_customers),
  ],
  returns: [
    (series) => (isBuilt(series) ? percent(returnsOf(series)) : "–"),
    returnsOf,
    isBuilt,
  ],
};

// A figure without some days is neither shown as if it had them, nor compared.
function showTile(name, series, other, label) {
  const [text, value, isKnown] = TILES[name],
    compare = $(`h-${name}-compare`);
  if (name === "new" && !isKnown(series)) {
    $("h-new").textContent = "–";
    const isOfAll = series.distinct && !Object.keys(addressNow().subject).length;
    compare.textContent = isOfAll ? "customers not built yet" : "of the whole shop only";
    return;
  }
  if (!isKnown(series)) {
    const missing = series.not_built.length,
      hasSome = missing && series.points.some((point) => point.built);
    $(`h-${name}`).textContent = hasSome ? text(series) : "–";
    compare.textContent = missing
      ? `without ${plural(missing, "day")} not built yet`
      : "too many purchases to count them: choose fewer days";
    return;
  }
  $(`h-${name}`).textContent = text(series);
  if (!other) {
    compare.textContent = "";
    return;
  }
  const none = isKnown(other) ? `no data for ${label}` : `${label}: not built yet`;
  const before = isKnown(other) ? value(other) : null;
  const moreIsWorse = name === "returns";
  fillComparisons(`h-${name}-compare`, value(series), [{ before, label, none, moreIsWorse }]);
}

function showControls(address, series) {
  $("from").value = series.first;
  $("to").value = series.last;
  $("measure").value = address.measure;
  $("by").value = address.by;
  $("compare").value = address.compare;
  for (const option of $("measure").options)
    option.disabled =
      (address.by === "weekhour" && !MEASURES[option.value].isSum) || !hasMeasure(address, option.value);
  for (const option of $("by").options)
    option.disabled =
      pathOf({ by: option.value }) === "hours" && lengthInDays(series) > MAX_HOURLY_DAYS;
  for (const button of document.querySelectorAll("[data-days]"))
    button.setAttribute("aria-pressed", Number(button.dataset.days) === lengthInDays(series));
}

function showTitle(address, series) {
  $("h-title").textContent =
    `${MEASURES[address.measure].title} by ${PERIODS[address.by]}${subjectText(address)}`;
  $("h-chart").setAttribute(
    "aria-label",
    `${$("h-title").textContent} from ${day(series.first)} to ${day(series.last)}; the table below has its figures`,
  );
  $("history-note").hidden = series.total.events > 0 || !isWhole(series);
  $("history-note").textContent =
    `No purchases${subjectText(address).replace(":", " of")} from ${day(series.first)} to ${day(series.last)}.` +
    (subjectText(address) ? " Choose other days, or remove a filter." : " Choose other days.");
}

function showSeries(address, series, other) {
  shown = series;
  Object.assign(deployment, { zone: series.timezone, currency: series.currency });
  const isGrid = address.by === "weekhour",
    label = comparedLabel(series, address);
  showControls(address, series);
  showChips(address);
  showTitle(address, series);
  for (const name of Object.keys(TILES)) showTile(name, series, other, label);
  $("h-chart").parentNode.classList.toggle("grid", isGrid);
  if (isGrid) drawHoursOfWeek(series, address.measure);
  else
    drawSeries(series, other, address, label, (from, to) => go({ from, to, order: null }, LISTS));
  $("h-freshness").replaceChildren(...lateBadges(series.standing, hasToday(series)));
  const parameters = rangeParameters(address, series);
  if (pathOf(address) === "days") parameters.set("by", address.by);
  for (const form of ["csv", "parquet"])
    $(form).href = `/api/v1/${pathOf(address)}?${parameters}&format=${form}`;
}

export async function showHistory() {
  const thisRequest = ++requests,
    address = addressNow(),
    startedAt = Date.now();
  try {
    const [series, other] = await requestBoth(address);
    // Whoever clicks fast gets the answer to the last click.
    if (thisRequest !== requests) return;
    showSeries(address, series, other);
    await Promise.all([
      ...Object.keys(LISTS).map((name) => showList(name, address, series)),
      showOrder(address, series),
      showOwnTable(address, series),
    ]);
    // The lists have brought descriptions.
    showChips(address);
    showTitle(address, series);
    $("history-error").hidden = true;
  } catch (error) {
    $("history-error").hidden = false;
    $("history-error").textContent = error.message;
  }
  const pause = Math.max(REFRESH_MILLISECONDS, REFRESH_SHARE * (Date.now() - startedAt));
  setTimeout(() => thisRequest === requests && refresh(), pause);
}

// Today goes on, and days that are being built come, by themselves; not under who works here.
function refresh() {
  const goesOn = shown && (!isBuilt(shown) || hasToday(shown)),
    isUsed = $("view-history").contains(document.activeElement);
  if (goesOn && !isUsed && !$("view-history").hidden && !document.hidden) showHistory();
  else setTimeout(refresh, REFRESH_MILLISECONDS);
}

// The other end follows, so that a range is never in the wrong order.
function changeEnd(id, other, isBeyond) {
  const value = $(id).value;
  if (!value) return;
  go({ [id]: value, [other]: isBeyond(value, $(other).value) ? value : $(other).value }, LISTS);
}

function prepareRange() {
  for (const button of document.querySelectorAll("[data-days]"))
    button.onclick = () => {
      const to = shown ? parseDay(shown.last) : Date.now();
      go({ from: utcDay(to - (Number(button.dataset.days) - 1) * DAY), to: utcDay(to) }, LISTS);
    };
  const move = (sign) => {
    if (!shown) return;
    const days = sign * lengthInDays(shown);
    go({ from: shiftDay(shown.first, days), to: shiftDay(shown.last, days) }, LISTS);
  };
  $("earlier").onclick = () => move(-1);
  $("later").onclick = () => move(1);
  $("from").onchange = () => changeEnd("from", "to", (from, to) => from > to);
  $("to").onchange = () => changeEnd("to", "from", (to, from) => to < from);
  $("range").onsubmit = (event) => event.preventDefault();
  // Out of a part of the chart again.
  $("h-chart").ondblclick = () => go({ from: null, to: null }, LISTS);
}

export function prepareHistory() {
  prepareRange();
  prepareLists(() => addressNow().lists);
  prepareSearch();
  prepareOwnTable();
  for (const name of ["measure", "by", "compare"])
    $(name).onchange = () => go({ [name]: $(name).value });
}

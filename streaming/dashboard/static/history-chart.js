// The chart of History: one measure by hour, day, week or month, and by hour of the week as a grid.
import { $, make } from "./dom.js";
import { amount, compact, day, decimal, hourOfDay, number, utcDay, weekday } from "./format.js";
import { DAY, lengthInDays, parseDay, shiftDay } from "./history-address.js";
import { makeChart } from "./chart.js";

const HOUR = 36e5;
const HOURS = 24;
const WEEKDAYS = 7;
const SHADES = 6;
const FIRST_MONDAY = Date.UTC(2024, 0, 1);

export const percent = (share) => `${decimal(share * 100)} %`;
// `value` is null where a measure is not known; only sums can be added up by hour of the week.
export const MEASURES = {
  net_revenue: { title: "Net revenue", show: amount, isSum: true, value: (p) => p.net_revenue_micros / 1e6 },
  items_sold: { title: "Items sold", show: number, isSum: true, value: (p) => p.items_sold },
  events: { title: "Purchases", show: number, isSum: true, value: (p) => p.events },
  orders: { title: "Orders", show: number, isSum: true, value: (p) => p.orders },
  average_order: {
    title: "Average order value",
    show: amount,
    value: (p) => (p.average_order === null ? null : Number(p.average_order)),
  },
  customers: { title: "Customers", show: number, value: (p) => p.customers },
  returns_share: { title: "Share of returns", show: percent, value: (p) => p.returns_share },
};
let chart = null;

const startOf = {
  hour: (at) => at.slice(0, 16),
  day: (at) => at,
  week: (at) => shiftDay(at, -((new Date(parseDay(at)).getUTCDay() + 6) % WEEKDAYS)),
  month: (at) => `${at.slice(0, 8)}01`,
};

// The times of a range, as its points name them. An hour is local, without its offset: the hours of
// each day are 0 to 23.
function keysOf({ first, last }, by) {
  const days = Array.from({ length: lengthInDays({ first, last }) }, (_, i) => shiftDay(first, i));
  if (by === "hour")
    return days.flatMap((date) =>
      Array.from({ length: HOURS }, (_, hour) => `${date}T${String(hour).padStart(2, "0")}:00`),
    );
  return [...new Set(days.map(startOf[by]))];
}

// The measure at each time: 0 for a sum if nothing happened, null in a day that is not built. Of such
// days `unbuilt` has what the stream counted, NaN if nothing is known of them.
function valuesOf(series, by, measure) {
  const keys = keysOf(series, by),
    slots = new Map(keys.map((key, i) => [key, i])),
    values = new Array(keys.length).fill(MEASURES[measure].isSum || measure === "customers" ? 0 : null),
    unbuilt = new Array(keys.length).fill(null),
    fresh = new Array(keys.length).fill(null);
  for (const date of by === "day" || by === "hour" ? series.not_built : [])
    for (const key of keysOf({ first: date, last: date }, by)) {
      values[slots.get(key)] = null;
      unbuilt[slots.get(key)] = NaN;
    }
  for (const point of series.points) {
    const slot = slots.get(startOf[by](point.at)),
      value = MEASURES[measure].value(point);
    if (!point.built) unbuilt[slot] = value ?? NaN;
    if (!point.built) values[slot] = null;
    // The hour that a change of clocks repeats has two points.
    else values[slot] = value === null ? null : (values[slot] ?? 0) + value;
    fresh[slot] = point.new_customers;
  }
  return { keys, values, unbuilt, fresh };
}

// A day of which nothing is known is hatched to the top.
function heightsOf(unbuilt, others) {
  const highest = Math.max(1e-9, ...[...others, ...unbuilt].filter((value) => value > 0));
  return unbuilt.map((value) => (Number.isNaN(value) ? highest : value));
}

function keyText(key, by, exact) {
  const [date, hour] = key.split("T");
  if (by === "hour") {
    const time = hourOfDay(parseDay(date) + Number(hour.slice(0, 2)) * HOUR);
    if (exact) return `${day(date)}, ${time}`;
    return hour === "00:00" ? day(date, { exact: false }) : time;
  }
  if (by === "month") return day(date, { month: true });
  if (by === "week" && exact) return `week of ${day(date)}`;
  return day(date, { exact });
}

const timeOf = (key) =>
  key.includes("T") ? Date.parse(`${key}:00Z`) / 1e3 : parseDay(key) / 1e3;

function seriesOf(by, measure, measured, label) {
  const { show } = MEASURES[measure],
    isLine = by === "hour",
    hasNew = measure === "customers" && measured.fresh.some((count) => count !== null);
  const returning = measured.values.map((value, i) =>
    value === null ? null : value - (measured.fresh[i] ?? 0),
  );
  return [
    { label, color: isLine ? "--second" : "--before", kind: isLine ? "line" : "backdrop", show },
    {
      label: hasNew ? "returning customers" : "this range",
      color: "--accent",
      kind: isLine ? "area" : "bars",
      show,
      raw: hasNew ? returning : measured.values,
    },
    ...(hasNew ? [{ label: "new customers", color: "--second", kind: "bars", show }] : []),
    {
      label: "not built yet",
      color: "--accent",
      kind: "hatched",
      show: (value) => (Number.isNaN(value) ? "no figure" : show(value)),
      raw: measured.unbuilt,
    },
  ];
}

// Draws the range over the one that it is compared with, which may be null; `pick` gets two days.
export function drawSeries(series, other, { by, measure }, label, pick) {
  const measured = valuesOf(series, by, measure),
    hasNew = measure === "customers" && measured.fresh.some((count) => count !== null),
    earlier = other ? valuesOf(other, by, measure) : null,
    before = measured.values.map(
      (_, i) => (earlier && (earlier.values[i] ?? (earlier.unbuilt[i] || null))) ?? null,
    );
  const lines = seriesOf(by, measure, measured, label),
    keys = new Map(measured.keys.map((key) => [timeOf(key), key]));
  showLegend(lines, Boolean(other), series.not_built.length > 0);
  chart ??= makeChart($("h-chart"), {
    series: lines,
    zone: () => "UTC",
    table: { caption: "", head: "Time" },
  });
  chart.change({
    x: (second, exact) => keyText(keys.get(second) ?? utcDay(second * 1e3), by, Boolean(exact)),
    left: measure === "returns_share" ? percent : compact,
    pick: (from, to) => pick(utcDay(from * 1e3), utcDay(Math.max(from, to) * 1e3)),
    table: { caption: $("h-title").textContent, head: "Time" },
  });
  chart.set(
    [
      measured.keys.map(timeOf),
      before,
      measured.values,
      ...(hasNew ? [measured.fresh] : []),
      heightsOf(measured.unbuilt, [...before, ...measured.values]),
    ],
    lines,
  );
}

function showLegend(lines, isCompared, isUnbuilt) {
  const classes = { "--accent": "accent", "--second": "second", "--before": "before" };
  const shown = lines.filter(
    ({ kind }, i) => (i > 0 || isCompared) && (kind !== "hatched" || isUnbuilt),
  );
  $("h-legend").replaceChildren(
    ...shown.map(({ label, color, kind }) => {
      const extra = kind === "hatched" ? "hatched" : kind === "line" ? "second dashed" : classes[color],
        node = make("span", label, `key ${extra}`);
      if (kind === "hatched") node.id = "h-unbuilt";
      return node;
    }),
  );
}

// The sums of a measure by weekday (Monday first) and local hour.
function sumsByHourOfWeek(series, measure) {
  const sums = Array.from({ length: WEEKDAYS }, () => new Array(HOURS).fill(0));
  for (const point of series.points) {
    const weekdayOf = (new Date(parseDay(point.at.slice(0, 10))).getUTCDay() + 6) % WEEKDAYS;
    sums[weekdayOf][Number(point.at.slice(11, 13))] += MEASURES[measure].value(point) ?? 0;
  }
  return sums;
}

export function drawHoursOfWeek(series, measure) {
  const sums = sumsByHourOfWeek(series, measure),
    highest = Math.max(1e-9, ...sums.flat()),
    head = make("tr");
  head.append(make("td"), ...sums[0].map((_, hour) => hourHead(hour)));
  const rows = sums.map((hours, weekdayOf) => {
    const row = make("tr"),
      name = make("th", weekday(FIRST_MONDAY + weekdayOf * DAY));
    name.scope = "row";
    row.append(
      name,
      ...hours.map((sum) => {
        const shade = sum > 0 ? Math.max(1, Math.round((sum / highest) * SHADES)) : 0,
          cell = make("td", sum ? compact(Math.round(sum)) : "", `shade${shade}`);
        cell.title = MEASURES[measure].show(sum);
        return cell;
      }),
    );
    return row;
  });
  const [top, body] = [make("thead"), make("tbody")];
  top.append(head);
  body.append(...rows);
  $("h-grid").replaceChildren(make("caption", $("h-title").textContent), top, body);
  $("h-legend").replaceChildren();
}

function hourHead(hour) {
  const cell = make("th", String(hour));
  cell.scope = "col";
  return cell;
}

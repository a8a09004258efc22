// Now: what is selling, from the `now` event that comes twice a second.
import { $, fillComparisons, fillRows, itemCell, make, numberCell } from "./dom.js";
import { amount, clock, compact, day, decimal, deployment, localDay, money } from "./format.js";
import { hourOfDay, moneyOfMicros, number, reason, wallClock } from "./format.js";
import { makeChart } from "./chart.js";
import { drawSparkline } from "./sparkline.js";

const TOP = 10;
const MICROS = 1e6;
const QUARTER = 15; // minutes
const QUARTERS = 96;
const DAY_START = Date.UTC(2000, 0, 1) / 1e3; // any day: only the time of day is shown
let chart = null,
  dayChart = null;

const SERIES = [
  { label: "revenue per minute", color: "--accent", kind: "area", show: amount },
  { label: "purchases per second", color: "--second", kind: "line", scale: "rate", show: decimal },
];

// The revenue of the minute that ends with each bucket.
function revenuePerMinute({ buckets, bucket_seconds: seconds }) {
  const width = 60 / seconds;
  return buckets.map((_, i) =>
    buckets.slice(Math.max(0, i - width + 1), i + 1).reduce((sum, [, , micros]) => sum + micros, 0),
  );
}

function drawHour(now) {
  chart ??= makeChart($("chart"), {
    series: SERIES,
    x: (second) => clock(second * 1e3, { seconds: false }),
    left: compact,
    right: decimal,
    zone: () => deployment.zone,
    table: { caption: "The last hour by ten seconds", head: "Time" },
  });
  const last = now.buckets.length - 1;
  chart.set([
    now.buckets.map(([second]) => second),
    revenuePerMinute(now).map((micros) => micros / MICROS),
    // The last bucket is not over, and its rate would seem to fall.
    now.buckets.map(([, events], i) => (i < last ? events / now.bucket_seconds : null)),
  ]);
}

// The sums of a figure up to the end of each quarter of an hour; null after `until` (minute).
function cumulated(course, index, until = QUARTERS * QUARTER) {
  const sums = new Array(QUARTERS).fill(0);
  for (const quarter of course) sums[quarter[0] / QUARTER] += quarter[index];
  let sum = 0;
  return [0, ...sums.map((value, i) => (i * QUARTER < until ? (sum += value) : null))];
}

const minuteOf = (ms) => {
  const [hour, minute] = wallClock(ms);
  return hour * 60 + minute;
};

// Until now the day's own figure counts, which is newer than its course.
function dayData(now) {
  const minute = minuteOf(Date.parse(now.as_of)),
    times = Array.from({ length: QUARTERS + 1 }, (_, i) => DAY_START + i * QUARTER * 60),
    [today, before] = [
      cumulated(now.course.day, 3, now.is_today ? minute + 1 : undefined),
      cumulated(now.course.day_before, 3),
    ].map((row) => row.map((micros) => (micros === null ? null : micros / MICROS)));
  if (now.is_today) {
    const at = Math.floor(minute / QUARTER) + 1,
      passed = Math.max(minute % QUARTER, 1);
    times[at] = DAY_START + ((at - 1) * QUARTER + passed) * 60;
    today[at] = now.day.net_revenue_micros / MICROS;
    before[at] = before[at - 1] + ((before[at] - before[at - 1]) * passed) / QUARTER;
  }
  return [times, before, today];
}

function daySeries(now) {
  const names = now.is_today ? ["yesterday", "today"] : ["the day before", "that day"];
  return [
    { label: names[0], color: "--second", kind: "line", show: amount },
    { label: names[1], color: "--accent", kind: "area", show: amount },
  ];
}

const timeOfDay = (second, exact) => hourOfDay(second * 1e3, { minutes: Boolean(exact) });

function drawDay(now) {
  const series = daySeries(now);
  dayChart ??= makeChart($("day-chart"), {
    series,
    x: timeOfDay,
    left: compact,
    zone: () => "UTC",
    table: { caption: "Net revenue up to each time of the day", head: "Time" },
  });
  $("key-day").textContent = series[1].label;
  $("key-day-before").textContent = series[0].label;
  const isSame = dayChart.names === series[1].label;
  dayChart.names = series[1].label;
  dayChart.set(dayData(now), isSame ? undefined : series);
}

function showSparklines(now) {
  const until = now.is_today ? minuteOf(Date.parse(now.as_of)) : QUARTERS * QUARTER,
    hours = (index) => {
      const sums = new Array(Math.floor((until - 1) / 60) + 1).fill(0);
      for (const quarter of now.course.day) sums[Math.floor(quarter[0] / 60)] += quarter[index];
      return sums;
    };
  drawSparkline($("items-spark"), hours(2));
  drawSparkline($("revenue-spark"), hours(3));
  const perMinute = 60 / now.bucket_seconds,
    rates = Array.from({ length: now.buckets.length / perMinute }, (_, i) =>
      now.buckets
        .slice(i * perMinute, (i + 1) * perMinute)
        .reduce((sum, [, events]) => sum + events, 0),
    );
  drawSparkline($("rate-spark"), rates);
}

function rankBefore(rank, change) {
  if (change === null) return ["new", "same"];
  if (change > TOP) return [`new in top ${TOP}`, "up"];
  if (!change) return [number(rank), "same"];
  return [`${number(rank + change)} ${change > 0 ? "▲" : "▼"}`, change > 0 ? "up" : "down"];
}

function showRanking(id, items) {
  fillRows(id, items, (item, index) => {
    const openItem = () => (location.hash = `history?item=${encodeURIComponent(item.item)}`);
    return [
      make("td", index + 1),
      itemCell(item.item, item.description, openItem),
      numberCell(number(item.items_sold)),
      numberCell(...rankBefore(index + 1, item.change)),
    ];
  });
}

function showDay(now) {
  const today = day(now.day.day);
  if (!now.events) {
    $("day").textContent =
      "No purchase is stored yet. Run “purchases produce” for generated ones, or “purchases replay FILE” for your own.";
    return;
  }
  $("day").textContent = now.is_today
    ? `${today}, until ${clock(Date.parse(now.as_of))} ${now.timezone}`
    : `No purchase today yet. The last day with purchases is ${today} (${now.timezone}).`;
  for (const node of document.querySelectorAll(".day-name"))
    node.textContent = now.is_today ? "today" : day(now.day.day, { exact: false });
}

function earlierDays(now, figure) {
  if (!now.is_today) return [];
  return [
    {
      before: now.yesterday[figure],
      label: "yesterday, same time",
      none: "no sales by this time yesterday",
    },
    {
      before: now.last_week[figure],
      label: "last week, same time",
      none: "no sales by this time last week",
    },
  ];
}

function showTiles(now) {
  $("items").textContent = number(now.day.items_sold);
  $("revenue").textContent = money(now.day.net_revenue);
  $("rate").textContent = decimal(now.events_per_second);
  $("refused").textContent = `${(now.refused_share * 100).toFixed(2)} %`;
  $("refused-compare").textContent =
    `${number(now.refused)} of ${number(now.events + now.refused)}` +
    (now.top_reason ? `, mostly ${reason(now.top_reason)}` : "");
  fillComparisons("items-compare", now.day.items_sold, earlierDays(now, "items_sold"));
  fillComparisons(
    "revenue-compare",
    now.day.net_revenue_micros,
    earlierDays(now, "net_revenue_micros"),
  );
}

function countryBar([country, sold], most) {
  const bar = make("div", undefined, "bar"),
    share = make("progress");
  share.max = most;
  share.value = Math.max(sold, 0);
  share.setAttribute("aria-hidden", "true");
  bar.append(share, make("span", country, "name"), make("span", number(sold)));
  return bar;
}

function showCountries({ countries }) {
  const most = Math.max(1, ...countries.map(([, sold]) => sold));
  const bars = countries.map((country) => countryBar(country, most));
  $("countries").replaceChildren(
    ...(bars.length ? bars : [make("p", "No purchase names a country.", "soft")]),
  );
}

function purchaseLine(purchase, today) {
  const ms = purchase.event_time / 1e3,
    date = localDay(ms);
  const what = `${number(purchase.quantity)} × ${purchase.description || purchase.item}`;
  const name = make("span", what, "name");
  name.title = purchase.item;
  const price =
    purchase.amount_micros === null ? "price unknown" : moneyOfMicros(purchase.amount_micros);
  const line = make("li");
  line.append(
    make("time", date === today ? clock(ms) : day(date, { exact: false })),
    name,
    make("span", price, "n"),
  );
  return line;
}

function showLatest(now) {
  const today = localDay(Date.parse(now.as_of));
  $("latest").replaceChildren(...now.latest.map((purchase) => purchaseLine(purchase, today)));
}

export function showNow(now) {
  showDay(now);
  showTiles(now);
  drawDay(now);
  drawHour(now);
  showSparklines(now);
  showRanking("popular-today", now.popular_today);
  showRanking("popular-ever", now.popular_ever);
  showCountries(now);
  showLatest(now);
  $("all-time").textContent =
    `All time: ${number(now.events)} purchases, ${number(now.items_sold)} items sold, ${money(now.net_revenue)} ${now.currency} net.`;
}

// Now: what is selling, from the `now` event that comes twice a second.
import { $, fillComparisons, fillRows, make, nameCell, numberCell } from "./dom.js";
import { amount, clock, compact, day, decimal, deployment, localDay, money } from "./format.js";
import { moneyOfMicros, number, reason } from "./format.js";
import { makeChart } from "./chart.js";

const TOP = 10;
const MICROS = 1e6;
let chart = null;

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
  });
  const last = now.buckets.length - 1;
  chart.set([
    now.buckets.map(([second]) => second),
    revenuePerMinute(now).map((micros) => micros / MICROS),
    // The last bucket is not over, and its rate would seem to fall.
    now.buckets.map(([, events], i) => (i < last ? events / now.bucket_seconds : null)),
  ]);
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
      nameCell(item.item, item.description, openItem),
      numberCell(number(item.items_sold)),
      numberCell(...rankBefore(index + 1, item.change)),
    ];
  });
}

function showDay(now) {
  const today = day(now.day.day);
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
  drawHour(now);
  showRanking("popular-today", now.popular_today);
  showRanking("popular-ever", now.popular_ever);
  showCountries(now);
  showLatest(now);
  $("all-time").textContent =
    `All time: ${number(now.events)} purchases, ${number(now.items_sold)} items sold, ${money(now.net_revenue)} ${now.currency} net.`;
}

// What is selling now, from the `now` event that comes twice a second.
import {
  $,
  clock,
  compact,
  compare,
  day,
  decimal,
  make,
  micros,
  money,
  named,
  number,
  rows,
  state,
} from "./format.js";
import { makeChart } from "./chart.js";

let chart = null;

function drawHour(now) {
  const perMinute = 60 / now.bucket_seconds;
  const revenue = now.buckets.map(
    (_, i) =>
      now.buckets.slice(Math.max(0, i - perMinute + 1), i + 1).reduce((sum, b) => sum + b[2], 0) /
      1e6,
  );
  chart ??= makeChart($("chart"), {
    series: [
      {
        label: "revenue per minute",
        color: "--accent",
        kind: "area",
        show: (v) => `${money(v.toFixed(2))} ${state.currency}`,
      },
      {
        label: "purchases per second",
        color: "--second",
        kind: "line",
        scale: "rate",
        show: decimal,
      },
    ],
    x: (t) => clock(t * 1e3, false),
    left: compact,
    right: decimal,
    zone: () => state.zone,
  });
  chart.set([
    now.buckets.map((b) => b[0]),
    revenue,
    now.buckets.map((b, i) => (i + 1 < now.buckets.length ? b[1] / now.bucket_seconds : null)),
  ]);
}

function ranking(id, items) {
  rows(id, items, (item, index) => {
    const change = item.change,
      said =
        change === null ? "new" : change > 0 ? `▲ ${change}` : change < 0 ? `▼ ${-change}` : "–";
    return [
      make("td", index + 1),
      named(item.item, item.description, () => {
        location.hash = `history?item=${encodeURIComponent(item.item)}`;
      }),
      make("td", number(item.items_sold), "n"),
      make("td", said, "n" + (change > 0 ? " up" : change < 0 ? " down" : " same")),
    ];
  });
}

export function showNow(now) {
  $("day").textContent = now.is_today
    ? `${day(now.day.day)}, until ${clock(Date.parse(now.as_of))} ${now.timezone}`
    : `No purchase today yet. The last day with some is ${day(now.day.day)} (${now.timezone}).`;
  for (const node of document.querySelectorAll(".day-name"))
    node.textContent = now.is_today ? "today" : now.day.day;
  $("items").textContent = number(now.day.items_sold);
  $("revenue").textContent = money(now.day.net_revenue);
  $("rate").textContent = decimal(now.events_per_second);
  $("refused").textContent = `${(now.refused_share * 100).toFixed(2)} %`;
  $("refused-compare").textContent =
    `${number(now.refused)} of ${number(now.events + now.refused)}` +
    (now.top_reason ? `, mostly ${now.top_reason}` : "");
  const before = (name) =>
    now.is_today
      ? [
          [now.yesterday[name], "yesterday, same time"],
          [now.last_week[name], "last week, same time"],
        ]
      : [];
  compare($("items-compare"), now.day.items_sold, before("items_sold"));
  compare($("revenue-compare"), now.day.net_revenue_micros, before("net_revenue_micros"));
  drawHour(now);
  ranking("popular-today", now.popular_today);
  ranking("popular-ever", now.popular_ever);
  const most = Math.max(1, ...now.countries.map((c) => c[1]));
  $("countries").replaceChildren(
    ...now.countries.map(([country, sold]) => {
      const bar = make("div", undefined, "bar"),
        share = make("progress");
      share.max = most;
      share.value = Math.max(sold, 0);
      share.setAttribute("aria-hidden", "true");
      bar.append(share, make("span", country, "name"), make("span", number(sold)));
      return bar;
    }),
  );
  $("latest").replaceChildren(
    ...now.latest.map((purchase) => {
      const line = make("li"),
        what = make(
          "span",
          `${number(purchase.quantity)} × ${purchase.description || purchase.item}`,
          "name",
        );
      what.title = purchase.item;
      line.append(
        make("time", clock(purchase.event_time / 1e3)),
        what,
        make(
          "span",
          purchase.amount_micros === null ? "price unknown" : micros(purchase.amount_micros),
          "n",
        ),
      );
      return line;
    }),
  );
  $("all-time").textContent =
    `All time: ${number(now.events)} purchases, ${number(now.items_sold)} items sold, ${money(now.net_revenue)} ${now.currency} net.`;
}

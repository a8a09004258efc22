// Any range of days: what is asked for stands in the address, so that it can be kept and sent.
import {
  $,
  ask,
  badge,
  compact,
  compare,
  day,
  decimal,
  make,
  money,
  named,
  number,
  state,
} from "./format.js";
import { makeChart } from "./chart.js";

const DAY = 864e5;
const MEASURES = {
  net_revenue: "Net revenue",
  items_sold: "Items sold",
  orders: "Orders",
  customers: "Customers",
};
const RANKINGS = {
  items: { subject: "item", order: "items_sold" },
  countries: { subject: "country", order: "items_sold" },
  customers: { subject: "customer", order: "net_revenue" },
};
const offsets = { items: 0, countries: 0, customers: 0 };
let chart = null,
  turn = 0,
  shown = null;

const iso = (ms) => new Date(ms).toISOString().slice(0, 10);
const at = (text) => Date.parse(`${text}T00:00:00Z`);
const asked = () => new URLSearchParams(location.hash.split("?")[1] ?? "");
const subjectOf = (query) => ["item", "country", "customer"].find((name) => query.has(name));
const value = (point, measure) =>
  measure === "net_revenue" ? point.net_revenue_micros / 1e6 : point[measure];

function go(changes) {
  const query = asked();
  for (const [name, to] of Object.entries(changes)) {
    if (to === null) query.delete(name);
    else query.set(name, to);
  }
  location.hash = `history?${query}`;
}

function only(subject, name) {
  go({ item: null, country: null, customer: null, [subject]: name });
}

// The parameters that the API takes, from what the address says.
function parameters(query, ...names) {
  const taken = new URLSearchParams();
  for (const name of names) if (query.has(name)) taken.set(name, query.get(name));
  return taken;
}

function shifted(series, days) {
  return iso(at(series.first) + days * DAY);
}

// Puts both ranges over the same days: hour by hour or day by day, nothing where nothing happened.
function laid(series, before, by, measure) {
  const step = by === "hours" ? 36e5 : DAY,
    length = at(series.last) + DAY - at(series.first);
  const place = (point, first) =>
    by === "hours"
      ? Math.floor((Date.parse(point.at.slice(0, 16) + "Z") - at(first)) / step)
      : (at(point.at) - at(first)) / step;
  const count = length / step,
    now = new Array(count).fill(0),
    then = new Array(count).fill(0);
  for (const point of series.points) now[place(point, series.first)] += value(point, measure) ?? 0;
  for (const point of before.points) then[place(point, before.first)] += value(point, measure) ?? 0;
  return [
    Array.from({ length: count }, (_, i) => (at(series.first) + i * step) / 1e3),
    now,
    before.points.length ? then : then.fill(null),
  ];
}

function axis(second, exact) {
  const time = new Date(second * 1e3).toISOString(),
    hour = time.slice(11, 16);
  const text = new Date(second * 1e3).toLocaleDateString("en-GB", {
    timeZone: "UTC",
    day: "numeric",
    month: "short",
    ...(exact ? { weekday: "short", year: "numeric" } : {}),
  });
  return $("by").value === "hours" && (exact || hour !== "00:00")
    ? exact
      ? `${text}, ${hour}`
      : hour
    : text;
}

function draw(series, before, by, measure) {
  const show =
    measure === "net_revenue" ? (v) => `${money(v.toFixed(2))} ${state.currency}` : number;
  const lines = [
    { label: "this range", color: "--accent", kind: by === "hours" ? "area" : "bars", show },
    { label: "the range before", color: "--second", kind: "line", show },
  ];
  chart ??= makeChart($("h-chart"), {
    series: lines,
    x: axis,
    left: compact,
    zone: () => "UTC",
    pick: (from, to) => go({ from: iso(from * 1e3), to: iso(Math.max(from, to) * 1e3) }),
  });
  chart.set(laid(series, before, by, measure), lines);
}

function tiles(series, before) {
  const many = Math.round((at(series.last) - at(series.first)) / DAY) + 1,
    than = `the ${number(many)} ${many === 1 ? "day" : "days"} before`;
  const busy = new Set(series.points.map((p) => p.at.slice(0, 10))).size,
    busyBefore = new Set(before.points.map((p) => p.at.slice(0, 10))).size;
  const orders = (found, days) =>
    days ? found.points.reduce((sum, p) => sum + p.orders, 0) / days : 0;
  $("h-revenue").textContent = money(series.total.net_revenue);
  compare($("h-revenue-compare"), series.total.net_revenue_micros, [
    [before.total.net_revenue_micros, than],
  ]);
  $("h-items").textContent = number(series.total.items_sold);
  compare($("h-items-compare"), series.total.items_sold, [[before.total.items_sold, than]]);
  $("h-events").textContent = number(series.total.events);
  compare($("h-events-compare"), series.total.events, [[before.total.events, than]]);
  $("h-orders").textContent = decimal(orders(series, busy));
  compare($("h-orders-compare"), orders(series, busy), [[orders(before, busyBefore), than]]);
}

function controls(query, series) {
  $("from").value = series.first;
  $("to").value = series.last;
  $("measure").value = query.get("measure") ?? "net_revenue";
  $("by").value = query.get("by") ?? "days";
  const subject = subjectOf(query),
    days = (at(series.last) - at(series.first)) / DAY + 1;
  $("by").disabled = Boolean(subject);
  $("measure").querySelector("[value=customers]").disabled = subject === "customer";
  for (const button of document.querySelectorAll("[data-days]"))
    button.setAttribute("aria-pressed", Number(button.dataset.days) === days);
  $("subject").replaceChildren(...(subject ? [chip(subject, query.get(subject))] : []));
  $("h-title").textContent =
    `${MEASURES[$("measure").value]} by ${$("by").value === "hours" ? "hour" : "day"}` +
    (subject ? `: ${subject} ${query.get(subject) || "none"}` : "");
  const table =
    subject === "item"
      ? "daily_item_sales"
      : subject === "country"
        ? "daily_country_sales"
        : $("by").value === "hours"
          ? "hourly_sales"
          : "daily_sales";
  for (const form of ["csv", "parquet"])
    $(form).href = `/api/v1/export/${table}?from=${series.first}&to=${series.last}&format=${form}`;
}

function chip(subject, name) {
  const node = make("button", `${subject} ${name || "none"} ×`, "chip");
  node.type = "button";
  node.setAttribute("aria-label", `show all again instead of ${subject} ${name}`);
  node.onclick = () => only("none", null);
  return node;
}

export async function showHistory() {
  const mine = ++turn,
    query = asked();
  try {
    const by = subjectOf(query) ? "days" : (query.get("by") ?? "days");
    const range = parameters(query, "from", "to", "item", "country", "customer");
    const series = await ask(`${by}?${range}`);
    const days = (at(series.last) - at(series.first)) / DAY + 1;
    range.set("from", shifted(series, -days));
    range.set("to", shifted(series, -1));
    const before = await ask(`${by}?${range}`);
    if (mine !== turn) return;
    shown = series;
    Object.assign(state, { zone: series.timezone, currency: series.currency });
    controls(query, series);
    tiles(series, before);
    draw(series, before, by, $("measure").value);
    $("h-standing").replaceChildren(badge(series.standing));
    $("h-chart").setAttribute(
      "aria-label",
      `${$("h-title").textContent} from ${day(series.first)} to ${day(series.last)}`,
    );
    await Promise.all(Object.keys(RANKINGS).map((what) => showRanking(what, series)));
    $("history-said")?.remove();
  } catch (error) {
    said(error.message);
  }
}

function said(text) {
  const node = $("history-said") ?? make("p", "", "verdict bad");
  node.id = "history-said";
  node.setAttribute("role", "status");
  node.textContent = text;
  $("range").after(node);
}

async function showRanking(what, series) {
  const { order, subject } = RANKINGS[what],
    limit = 10;
  const query = new URLSearchParams({ order, limit, offset: offsets[what] });
  if (what !== "customers") {
    query.set("from", series.first);
    query.set("to", series.last);
  }
  const found = await ask(`${what}?${query}`);
  const entries = found.ranked ?? found.customers;
  const table = $(`h-${what}-table`),
    second = table.querySelectorAll("[data-order]")[0].dataset.order;
  const body = entries.map((entry, index) => {
    const row = make("tr"),
      name = entry.name ?? entry.user;
    row.append(
      make("td", number(entry.rank ?? offsets[what] + index + 1)),
      named(name || "none", entry.description, () => only(subject, name)),
      make("td", number(entry[second]), "n"),
      make("td", money(entry.net_revenue), "n"),
    );
    return row;
  });
  table.tBodies[0].replaceChildren(...body);
  for (const button of table.querySelectorAll("[data-order]"))
    button.parentNode.setAttribute(
      "aria-sort",
      button.dataset.order === order ? "descending" : "none",
    );
  $(`${what}-total`).textContent =
    what === "customers" ? `${number(found.total)}, all time` : number(found.total);
  $(`${what}-standing`).replaceChildren(badge(found.standing));
  pager($(`${what}-pager`), offsets[what], limit, found, (offset) => {
    offsets[what] = offset;
    showRanking(what, series);
  });
}

export function pager(node, offset, limit, found, turnTo) {
  const back = make("button", "←"),
    on = make("button", "→"),
    entries = (found.ranked ?? found.customers ?? found.dead_letters).length;
  back.type = on.type = "button";
  back.setAttribute("aria-label", "previous page");
  on.setAttribute("aria-label", "next page");
  back.disabled = !offset;
  on.disabled = found.next_offset === null;
  back.onclick = () => turnTo(Math.max(0, offset - limit));
  on.onclick = () => turnTo(found.next_offset);
  node.replaceChildren(
    back,
    make("span", entries ? `${number(offset + 1)} to ${number(offset + entries)}` : "none"),
    on,
  );
}

export function prepareHistory() {
  for (const button of document.querySelectorAll("[data-days]")) {
    button.onclick = () => {
      const to = shown ? at(shown.last) : Date.now();
      go({ from: iso(to - (Number(button.dataset.days) - 1) * DAY), to: iso(to) });
    };
  }
  const move = (sign) => {
    if (shown) {
      const days = (at(shown.last) - at(shown.first)) / DAY + 1;
      go({ from: shifted(shown, sign * days), to: iso(at(shown.last) + sign * days * DAY) });
    }
  };
  $("earlier").onclick = () => move(-1);
  $("later").onclick = () => move(1);
  $("from").onchange = () => {
    if ($("from").value)
      go({
        from: $("from").value,
        to: $("to").value < $("from").value ? $("from").value : $("to").value,
      });
  };
  $("to").onchange = () => {
    if ($("to").value)
      go({
        to: $("to").value,
        from: $("from").value > $("to").value ? $("to").value : $("from").value,
      });
  };
  $("measure").onchange = () => go({ measure: $("measure").value });
  $("by").onchange = () => go({ by: $("by").value });
  $("range").onsubmit = (event) => event.preventDefault();
  for (const what of Object.keys(RANKINGS)) {
    for (const button of $(`h-${what}-table`).querySelectorAll("[data-order]")) {
      button.onclick = () => {
        RANKINGS[what].order = button.dataset.order;
        offsets[what] = 0;
        if (shown) showRanking(what, shown);
      };
    }
  }
}

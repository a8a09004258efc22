// The lists of History: ranked items, countries and customers, orders, and the lines of an order.
import { $, fillPager, lateBadges, make, makeButton, makeCell } from "./dom.js";
import { itemCell, nameCell, numberCell } from "./dom.js";
import { deployment, localDay, moment, money, number } from "./format.js";
import { request } from "./api.js";
import { SUBJECTS, go, listText } from "./history-address.js";

const LIMIT = 10;
const MAX_LINES = 500;
const MAX_FILE_ROWS = 100_000; // the server makes no larger file
export const LISTS = {
  items: { path: "items", order: "items_sold", rows: rankedRows("item", "items_sold") },
  countries: { path: "countries", order: "net_revenue", rows: rankedRows("country", "items_sold") },
  customers: { path: "buyers", order: "net_revenue", rows: rankedRows("customer", "orders") },
  orders: { path: "orders", order: "at", rows: orderRows },
};
// Descriptions by item, of whatever was shown or found: a chip says more than a code.
export const descriptions = new Map();
const nameOf = (kind, name) => (kind === "item" && descriptions.get(name)) || name || "none";

// What is chosen, in words: ": item HEART OF WICKER SMALL, country France", or nothing.
export function subjectText({ subject }) {
  const names = Object.entries(subject).map(([kind, name]) => `${kind} ${nameOf(kind, name)}`);
  return names.length ? `: ${names.join(", ")}` : "";
}

function rankedRows(subject, figure) {
  return ({ ranked }) =>
    ranked.map((entry) => {
      if (entry.description) descriptions.set(entry.name, entry.description);
      const pick = () => choose(subject, entry.name),
        name = entry.name || "none",
        cell = entry.description ? itemCell(name, entry.description, pick) : nameCell(name, null, pick);
      return [
        make("td", number(entry.rank)),
        cell,
        numberCell(number(entry[figure])),
        numberCell(money(entry.net_revenue)),
      ];
    });
}

function orderRows({ orders }) {
  return orders.map((entry) => [
    makeCell(makeButton(entry.order, "link", () => go({ order: entry.order }))),
    make("td", moment(entry.at)),
    entry.customer
      ? nameCell(entry.customer, null, () => choose("customer", entry.customer))
      : make("td", "guest"),
    numberCell(number(entry.items_sold)),
    numberCell(money(entry.net_revenue)),
  ]);
}

// One name more to look at: of a kind one at a time.
export const choose = (subject, name) => go({ [subject]: name, order: null }, LISTS);

export function rangeParameters({ subject }, { first, last }) {
  return new URLSearchParams({ from: first, to: last, ...subject });
}

function setDownloads(id, path, parameters) {
  for (const form of ["csv", "parquet"])
    $(`${id}-${form}`).href = `/api/v1/${path}?${parameters}&format=${form}`;
}

function markOrder(table, { order, direction }) {
  for (const button of table.querySelectorAll("[data-order]"))
    button.parentNode.setAttribute(
      "aria-sort",
      button.dataset.order === order ? direction : "none",
    );
}

function fillBody(table, rows, none) {
  const body = table.tBodies[0];
  body.replaceChildren(
    ...rows.map((cells) => {
      const row = make("tr");
      row.append(...cells);
      return row;
    }),
  );
  if (rows.length) return;
  const cell = make("td", none, "soft");
  cell.colSpan = table.tHead.rows[0].cells.length;
  const row = make("tr");
  row.append(cell);
  body.append(row);
}

export async function showList(name, address, shown) {
  const list = address.lists[name],
    { path, rows } = LISTS[name],
    table = $(`h-${name}-table`),
    parameters = rangeParameters(address, shown);
  parameters.set("order", list.order);
  parameters.set("direction", list.direction);
  setDownloads(name, path, parameters);
  markOrder(table, list);
  try {
    const answer = await request(`${path}?${parameters}&limit=${LIMIT}&offset=${list.offset}`);
    showEntries(name, list, rows(answer), answer);
  } catch (error) {
    fillBody(table, [], error.message);
    $(`${name}-total`).textContent = "";
    $(`${name}-pager`).replaceChildren();
  }
}

function showEntries(name, list, rows, { total, last, next_offset: next, standing }) {
  const hasToday = last >= localDay(Date.now());
  const isMissing = standing?.missing_days || (standing?.built_at === null && standing.behind);
  fillBody($(`h-${name}-table`), rows, isMissing ? "Not built yet." : `No ${name} in these days.`);
  $(`${name}-total`).textContent = number(total);
  if (total > MAX_FILE_ROWS)
    for (const form of ["csv", "parquet"]) $(`${name}-${form}`).removeAttribute("href");
  $(`${name}-freshness`)?.replaceChildren(...lateBadges(standing, hasToday));
  const page = { offset: list.offset, limit: LIMIT, count: rows.length, next };
  fillPager(`${name}-pager`, { ...page, none: isMissing ? "not built yet" : "none" }, (offset) =>
    go({ [name]: listText({ ...list, offset }) }),
  );
}

export async function showOrder(address, shown) {
  $("order").hidden = !address.order;
  if (!address.order) return;
  const parameters = rangeParameters({ subject: {} }, shown);
  parameters.set("order", address.order);
  $("order-name").textContent = `Order ${address.order}`;
  setDownloads("order", "lines", parameters);
  const { lines, total } = await request(`lines?${parameters}&limit=${MAX_LINES}`),
    [first] = lines;
  $("order-facts").textContent = first
    ? [moment(first.at), first.customer ?? "guest", first.country].filter(Boolean).join(" · ")
    : "";
  fillBody($("order-table"), lines.map(lineCells), "No line of it is in these days.");
  const sum = lines.reduce((micros, line) => micros + line.net_revenue_micros, 0) / 1e6;
  $("order-total").textContent =
    total > lines.length
      ? `The first ${number(lines.length)} of ${number(total)} lines; a download has all of them.`
      : `${money(sum.toFixed(2))} ${deployment.currency}`;
}

function lineCells(line) {
  const pick = () => choose("item", line.item);
  return [
    line.description ? itemCell(line.item, line.description, pick) : nameCell(line.item, null, pick),
    numberCell(number(line.quantity)),
    numberCell(line.unit_price === null ? "–" : money(line.unit_price)),
    numberCell(money(line.net_revenue)),
  ];
}

// A second click on a column sorts the other way.
function sortBy(name, order, list) {
  const isAgain = list.order === order && list.direction === "descending";
  go({ [name]: listText({ order, direction: isAgain ? "ascending" : "descending", offset: 0 }) });
}

export function prepareLists(readLists) {
  for (const name of Object.keys(LISTS))
    for (const button of $(`h-${name}-table`).querySelectorAll("[data-order]"))
      button.onclick = () => sortBy(name, button.dataset.order, readLists()[name]);
  $("order-close").onclick = () => go({ order: null });
}

// What is chosen, each with a button that takes it back.
export function showChips({ subject }) {
  const chips = SUBJECTS.filter((name) => name in subject).map((name) => chipOf(name, subject[name]));
  // A button that stays keeps the focus of whoever is about to press it.
  if (chips.length !== $("subject").children.length || !chips.every((chip) => chip.isConnected))
    $("subject").replaceChildren(...chips);
}

function chipOf(name, chosen) {
  const value = chosen || "none",
    label = `show all again instead of ${name} ${value}`,
    there = [...$("subject").children].find((chip) => chip.getAttribute("aria-label") === label),
    chip = there ?? makeButton("", "chip", () => go({ [name]: null, order: null }, LISTS));
  chip.textContent = `${name} ${nameOf(name, chosen)} ×`;
  chip.setAttribute("aria-label", label);
  chip.title = value;
  return chip;
}

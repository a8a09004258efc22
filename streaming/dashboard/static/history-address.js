// What History shows, as its address says it. Whatever is chosen goes there, so that it can be kept,
// sent and gone back from.
import { utcDay } from "./format.js";

export const DAY = 864e5;
export const SUBJECTS = ["item", "country", "customer"];
export const PERIODS = {
  hour: "hour",
  day: "day",
  week: "week",
  month: "month",
  weekhour: "hour of the week",
};
export const COMPARISONS = ["before", "year", "none"];
const DATE = /^\d{4}-\d\d-\d\d$/;
// Addresses of earlier releases.
const OLD_PERIODS = { days: "day", hours: "hour" };

export const parseDay = (text) => Date.parse(`${text}T00:00:00Z`);
export const shiftDay = (text, days) => utcDay(parseDay(text) + days * DAY);
export const lengthInDays = ({ first, last }) =>
  Math.round((parseDay(last) - parseDay(first)) / DAY) + 1;

const addressQuery = () => new URLSearchParams(location.hash.split("?")[1] ?? "");
const oneOf = (names, name) => (names.includes(name) ? name : names[0]);

// A list's order, direction and offset, such as `net_revenue.ascending.20`.
function readList(text, order) {
  const [asked, direction, offset] = (text ?? "").split(".");
  return {
    order: asked || order,
    direction: oneOf(["descending", "ascending"], direction),
    offset: Number(offset) || 0,
  };
}

// What the address does not say, or says wrongly, is as if nobody had chosen.
export function readAddress(measures, lists) {
  const query = addressQuery(),
    date = (name) => (DATE.test(query.get(name)) ? query.get(name) : null),
    by = OLD_PERIODS[query.get("by")] ?? query.get("by");
  return {
    from: date("from"),
    to: date("to"),
    measure: oneOf(measures, query.get("measure")),
    by: oneOf(["day", ...Object.keys(PERIODS)], by),
    compare: oneOf(COMPARISONS, query.get("compare")),
    order: query.get("order"),
    own: query.get("own"),
    rows: Number(query.get("rows")) || 0,
    subject: Object.fromEntries(
      SUBJECTS.filter((name) => query.has(name)).map((name) => [name, query.get(name)]),
    ),
    lists: Object.fromEntries(
      Object.entries(lists).map(([name, { order }]) => [name, readList(query.get(name), order)]),
    ),
  };
}

// Changes the address, which shows what it names; null removes a parameter.
export function go(changes, lists = {}) {
  const query = addressQuery();
  // Of other days or another subject a list begins at its first page again.
  for (const name of Object.keys(lists))
    if (query.has(name)) query.set(name, query.get(name).split(".").slice(0, 2).join("."));
  if (Object.keys(lists).length) query.delete("rows");
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  location.hash = `history?${query}`;
}

export const listText = ({ order, direction, offset }) => `${order}.${direction}.${offset}`;

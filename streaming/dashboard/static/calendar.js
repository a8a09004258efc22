// A calendar of all days that there are: years, months, and weeks that begin on Monday.
import { make } from "./dom.js";

const OPEN_YEARS = 1;
const WEEKDAYS = 7;

const noon = (date) => new Date(`${date}T12:00:00Z`);
// Monday is the first of the week.
const weekday = (date) => (noon(date).getUTCDay() + WEEKDAYS - 1) % WEEKDAYS;
const daysOfMonth = (month) => new Date(Date.UTC(+month.slice(0, 4), +month.slice(5), 0)).getUTCDate();
const name = (date, options) => noon(date).toLocaleDateString(undefined, { timeZone: "UTC", ...options });

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

function makeMonth(month, days, makeDay) {
  const node = make("div", undefined, "month"),
    grid = make("div", undefined, "weeks");
  node.append(make("h3", name(`${month}-01`, { month: "long" })));
  // 1 January 2024 was a Monday.
  for (let i = 1; i <= WEEKDAYS; i++)
    grid.append(make("span", name(`2024-01-0${i}`, { weekday: "narrow" }), "weekday"));
  const byDay = new Map(days.map((one) => [one.day, one]));
  for (let i = 1; i <= daysOfMonth(month); i++) {
    const date = `${month}-${String(i).padStart(2, "0")}`,
      counted = byDay.get(date);
    const cell = counted ? makeDay(counted) : make("span", i, "cell none");
    if (i === 1) cell.style.gridColumnStart = weekday(date) + 1;
    grid.append(cell);
  }
  node.append(grid);
  return node;
}

function makeYear(year, days, makeDay, isOpen) {
  const node = make("details", undefined, "year"),
    months = make("div", undefined, "months");
  node.open = isOpen;
  node.dataset.year = year;
  node.append(make("summary", year), months);
  for (const [month, ofMonth] of groupBy(days, (one) => one.day.slice(0, 7)))
    months.append(makeMonth(month, ofMonth, makeDay));
  return node;
}

// Draws `days`, oldest first and each with its `day`; `makeDay` makes the cell of one. Years that
// were opened or closed stay so.
export function fillCalendar(node, days, makeDay) {
  const before = new Map([...node.children].map((one) => [one.dataset.year, one.open]));
  const years = [...groupBy(days, (one) => one.day.slice(0, 4))].toReversed();
  node.replaceChildren(
    ...years.map(([year, ofYear], i) =>
      makeYear(year, ofYear, makeDay, before.get(year) ?? i < OPEN_YEARS),
    ),
  );
}

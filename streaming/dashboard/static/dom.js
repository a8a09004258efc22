// Nodes made of text: every value of an event goes in as text (textContent), never as markup.
import { decimal, moment, number, plural } from "./format.js";

export const $ = (id) => document.getElementById(id);

export function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

export function makeButton(text, className, onclick) {
  const node = make("button", text, className);
  node.type = "button";
  node.onclick = onclick;
  return node;
}

export function makeCell(content, className) {
  const cell = make("td", undefined, className);
  cell.append(content);
  return cell;
}

export const numberCell = (text, className = "") => makeCell(text, `n ${className}`);

// The cell of a name that may be long, with its description; a click calls `pick`.
export function nameCell(name, description, pick) {
  const node = make("span", undefined, "name");
  node.title = description ? `${name} · ${description}` : name;
  node.append(pick ? makeButton(name, "link", pick) : make("span", name));
  if (description) node.append(make("small", description));
  return makeCell(node);
}

// The same for an item, of which people know the description better than the code.
export function itemCell(item, description, pick) {
  if (!description) return nameCell(item, null, pick);
  const cell = nameCell(description, item, pick);
  cell.firstChild.title = `${description} · ${item}`;
  return cell;
}

// Fills a table's body; its rows are reused, so that the focus and the scroll position stay.
export function fillRows(id, items, makeCells) {
  const body = $(id).tBodies[0];
  while (body.rows.length < items.length) body.append(make("tr"));
  while (body.rows.length > items.length) body.lastChild.remove();
  items.forEach((item, index) => body.rows[index].replaceChildren(...makeCells(item, index)));
}

// Fills a table with columns and rows as SQL answers them; a column of numbers stands to the right.
export function fillAnswer(id, columns, rows) {
  const isNumber = columns.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  const head = make("tr");
  columns.forEach((name, i) => {
    const cell = make("th", name, isNumber[i] ? "n" : "");
    cell.scope = "col";
    head.append(cell);
  });
  $(id).tHead.replaceChildren(head);
  fillRows(id, rows, (row) =>
    row.map((cell, i) => (isNumber[i] ? numberCell(cell ?? "") : make("td", cell))),
  );
}

function makeFact(value) {
  const node = make("dd");
  node.append(value ?? "");
  return node;
}

// Facts are pairs of a name and a text or a node.
export function fillFacts(id, facts) {
  $(id).replaceChildren(...facts.flatMap(([name, value]) => [make("dt", name), makeFact(value)]));
}

function freshness(standing) {
  const { failed, behind, behind_days: days, missing_days: missing } = standing,
    { provisional_days: provisional } = standing;
  if (failed) return [`${number(failed)} failed`, "failed"];
  if (missing) return [`${plural(missing, "day")} not built yet`, "late"];
  if (days) return [`updating: ${plural(days, "day")} to build`, "late"];
  if (behind) return [`updating: ${plural(behind, "event")}`, "late"];
  return provisional ? ["day not closed yet", "provisional"] : ["current", "current"];
}

// How a table's figures stand against the stream.
export function freshnessBadge(standing) {
  const [text, kind] = freshness(standing);
  const node = make("span", text, `badge ${kind}`);
  node.title =
    standing.table === "analytics_event"
      ? "computed from the events themselves"
      : `${standing.table}: ${plural(standing.behind, "event")} missing, oldest build ${moment(standing.built_at)}`;
  return node;
}

// The badge of figures that are late, or nothing: what shows at all times is not seen. Today grows
// with every purchase, so a range that has it may lack a day.
export function lateBadges(standing, hasToday) {
  const { failed, behind, behind_days: days } = standing;
  const isLate = failed || days > (hasToday ? 1 : 0) || (behind && !days);
  return isLate ? [freshnessBadge(standing)] : [];
}

function comparison(now, { before, label, none, moreIsWorse }) {
  const line = make("span", undefined, "line");
  if (!before) {
    line.textContent = none;
    return line;
  }
  const percent = ((now - before) / Math.abs(before)) * 100;
  const isUp = percent >= 0;
  const change = `${isUp ? "▲" : "▼"} ${decimal(Math.abs(percent))} %`;
  line.append(make("b", change, isUp === Boolean(moreIsWorse) ? "down" : "up"), ` on ${label}`);
  return line;
}

// Shows how a figure changed, one line for each earlier one; `none` is said if there was none.
export function fillComparisons(id, now, earlier) {
  $(id).replaceChildren(...earlier.map((one) => comparison(now, one)));
}

// Previous and next of a list of `count` entries from `offset`; `turnTo` gets the new offset, and
// `none` is said of an empty list.
export function fillPager(id, { offset, limit, count, next, none = "none" }, turnTo) {
  const previousButton = makeButton("←", "", () => turnTo(Math.max(0, offset - limit)));
  const nextButton = makeButton("→", "", () => turnTo(next));
  previousButton.setAttribute("aria-label", "previous page");
  nextButton.setAttribute("aria-label", "next page");
  previousButton.disabled = !offset;
  nextButton.disabled = next === null;
  const range = count ? `${number(offset + 1)} to ${number(offset + count)}` : none;
  $(id).replaceChildren(previousButton, make("span", range), nextButton);
}

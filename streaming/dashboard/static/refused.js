// Rejected: dead letters by day and reason, one opened beside the list, redriven after a preview.
import { $, fillPager, fillRows, make, makeButton, makeCell } from "./dom.js";
import { day, moment, number, plural, reason, utcDay, words } from "./format.js";
import { request } from "./api.js";
import { openedRecord, setOpenedRecord, showRecord } from "./refused-record.js";
import { makeChart } from "./chart.js";

const COLORS = ["--accent", "--second", "--amber", "--violet", "--bad", "--soft"];
const OTHER = "other";
const LIMIT = 20;
const MIN_DAYS = 14;
const DAY = 864e5;
const REFRESH_MILLISECONDS = 1500; // until a redriven record is stored or refused again
const FIELDS = ["user", "item", "timestamp", "event_id", "quantity", "unit_price"].concat(
  ["currency", "order_id", "description", "country"],
);
let chart = null,
  offset = 0;
// The ids of the records that were chosen one by one; they outlive a change of the page.
const chosen = new Set();

// What was chosen, as the API takes it. Records that were chosen one by one are all there is.
function selection() {
  if (chosen.size) return { ids: [...chosen] };
  const given = {
    reason: $("reason").value,
    key: $("refused-key").value.trim(),
    from: $("refused-from").value,
    to: $("refused-to").value,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

const rules = () => ($("rule-value").value ? [`${$("rule").value}=${$("rule-value").value}`] : []);

// The most frequent reasons, one for each colour; the rest together are the last.
function chartedReasons(counts) {
  const codes = Object.keys(counts);
  return codes.length <= COLORS.length ? codes : [...codes.slice(0, COLORS.length - 1), OTHER];
}

// One row for each reason, with a count for each day of the chart.
function countsByReason(byDay, codes, firstDay, days) {
  const counts = codes.map(() => new Array(days).fill(0));
  for (const [at, code, count] of byDay) {
    const row = codes.includes(code) ? codes.indexOf(code) : codes.indexOf(OTHER);
    counts[row][Math.round((Date.parse(at) - firstDay) / DAY)] += count;
  }
  return counts;
}

// uPlot does not stack. Each bar is drawn as the sum up to its reason, the highest first.
function stack(counts) {
  return counts.map((row, i) =>
    row.map((_, t) => counts.slice(0, i + 1).reduce((sum, below) => sum + below[t], 0)),
  );
}

function drawReasons(byDay, codes) {
  $("reasons").parentNode.hidden = !byDay.length;
  if (!byDay.length) return;
  const last = Date.parse(byDay.at(-1)[0]),
    days = Math.max(MIN_DAYS, (last - Date.parse(byDay[0][0])) / DAY + 1),
    first = last - (days - 1) * DAY;
  const times = Array.from({ length: days }, (_, i) => (first + i * DAY) / 1e3);
  const counts = countsByReason(byDay, codes, first, days),
    sums = stack(counts);
  const series = codes.map((code, i) => ({
    label: reason(code),
    color: COLORS[i],
    kind: "bars",
    raw: counts[i],
    show: number,
  }));
  chart ??= makeChart($("reasons"), {
    series,
    x: (second, exact) => day(utcDay(second * 1e3), { exact: Boolean(exact) }),
    left: (value) => (Number.isInteger(value) ? number(value) : ""),
    zone: () => "UTC",
    table: { caption: "Refused records by day and reason", head: "Day" },
  });
  chart.set([times, ...sums.toReversed()], series.toReversed());
}

// Every reason with its count; those that the chart adds up have the colour of their sum.
function showLegend(counts) {
  const last = COLORS.length - 1;
  $("reasons-legend").replaceChildren(
    ...Object.entries(counts).map(([code, count], i) =>
      make("span", `${reason(code)} ${number(count)}`, `key c${Math.min(i, last)}`),
    ),
  );
}

function showReasonOptions(counts) {
  const options = Object.entries(counts).map(
    ([code, count]) => new Option(`${reason(code)} (${number(count)})`, code),
  );
  $("reason").replaceChildren(new Option("all", ""), ...options);
}

function makeChoice(deadLetter) {
  const node = make("input");
  node.type = "checkbox";
  node.checked = chosen.has(deadLetter.id);
  node.disabled = deadLetter.state !== "open";
  node.setAttribute("aria-label", `choose ${deadLetter.id}`);
  node.onchange = () => {
    if (node.checked) chosen.add(deadLetter.id);
    else chosen.delete(deadLetter.id);
    changeSelection();
  };
  return makeCell(node);
}

function showList(page) {
  fillRows("dead-letters", page.dead_letters, (deadLetter) => [
    makeChoice(deadLetter),
    makeCell(makeButton(moment(deadLetter.refused_at), "link", () => openRecord(deadLetter.id))),
    make("td", reason(deadLetter.reason)),
    make("td", deadLetter.key ?? "none"),
    make("td", deadLetter.state),
    make("td", deadLetter.detail),
  ]);
  markOpened(page.dead_letters);
  const count = page.dead_letters.length;
  fillPager("dead-letters-pager", { offset, limit: LIMIT, count, next: page.next_offset }, (to) => {
    offset = to;
    showRefused();
  });
  $("preview").disabled = !count && !chosen.size;
  if (!count) say("Nothing is refused.");
}

function markOpened(deadLetters) {
  const rows = $("dead-letters").tBodies[0].rows;
  deadLetters.forEach(({ id }, i) => rows[i].classList.toggle("opened", id === openedRecord()));
}

// A second click on the record that is open closes it.
async function openRecord(id) {
  setOpenedRecord(id === openedRecord() ? null : id);
  await showRefused();
}

const say = (text) => ($("redrive-result").textContent = text);

export async function showRefused() {
  const { ids: _, ...filters } = selection(),
    query = new URLSearchParams({ limit: LIMIT, offset, ...filters });
  try {
    const page = await request(`dead-letters?${query}`);
    const codes = chartedReasons(page.counts);
    // The counts of one reason alone would leave no other to choose.
    if (!filters.reason) showReasonOptions(page.counts);
    drawReasons(page.by_day, codes);
    showLegend(page.counts);
    showList(page);
    await showRecord(rules);
  } catch (error) {
    say(error.message);
  }
}

// Of which records the outcome is: a rule may be for far more of them than are looked at.
function scopeText() {
  if (chosen.size) return "that you chose";
  return $("reason").value ? `with “${reason($("reason").value)}”` : "of all reasons";
}

function outcomeText({ outcomes, left }, isSent) {
  const count = outcomes.stored ?? 0,
    all = Object.values(left).reduce((sum, others) => sum + others, count);
  const texts = [`${number(count)} ${isSent ? "sent again, will" : "would"} be stored`];
  for (const [code, others] of Object.entries(left))
    texts.push(`${number(others)} left (${leftText(code)})`);
  return `Of ${plural(all, "record")} ${scopeText()}: ${texts.join(", ")}.`;
}

// Codes of refusals, as they would be refused again, and of what cannot be sent at all.
const leftText = (code) => (/^(invalid|missing|timestamp|malformed|wrong|unsupported)/.test(code) ? reason(code) : words(code));

// Only what would be stored is sent: the rest would come back at once.
async function redrive(send) {
  say("…");
  offerToSend(0);
  try {
    const options = { ...selection(), set: rules(), valid_only: true, send };
    const result = await request("dead-letters/redrive", options);
    say(outcomeText(result, send));
    if (!send) return offerToSend(result.outcomes.stored ?? 0);
    chosen.clear();
    setTimeout(showRefused, REFRESH_MILLISECONDS);
  } catch (error) {
    say(error.message);
  }
}

function offerToSend(count) {
  $("send").disabled = !count;
  $("send").textContent = count ? `Send ${number(count)} again` : "Send again";
  $("confirm").hidden = true;
}

function askToConfirm() {
  const [rule] = rules();
  $("confirm-text").textContent =
    `${$("send").textContent}${rule ? `, with ${rule}` : ""}? The originals stay in the topic.`;
  $("confirm").hidden = false;
  $("confirm-send").focus();
}

// What was previewed is no longer what would be sent.
function changeSelection() {
  offerToSend(0);
  say(chosen.size ? `${plural(chosen.size, "record")} chosen.` : "");
  $("unchoose").hidden = !chosen.size;
}

function changeFilter() {
  chosen.clear();
  changeSelection();
  offset = 0;
  showRefused();
}

// New refusals come by themselves; not under who works here.
export function refreshRefused() {
  const isUsed = $("view-rejected").contains(document.activeElement) || chosen.size > 0;
  if (!isUsed && !document.hidden) showRefused();
}

export function prepareRefused() {
  for (const id of ["reason", "refused-key", "refused-from", "refused-to"]) $(id).onchange = changeFilter;
  $("rule").replaceChildren(...FIELDS.map((name) => new Option(name, name)));
  $("rule").value = "unit_price";
  $("rule").onchange = $("rule-value").oninput = changeSelection;
  $("unchoose").onclick = changeFilter;
  $("preview").onclick = () => redrive(false);
  $("send").onclick = askToConfirm;
  $("confirm-send").onclick = () => redrive(true);
  $("confirm-cancel").onclick = () => ($("confirm").hidden = true);
  $("dead-letter-close").onclick = () => openRecord(openedRecord());
}

// Rejected: dead letters by day and reason, one opened with its bytes, redriven after a preview.
import { $, fillFacts, fillPager, fillRows, make, makeButton, makeCell } from "./dom.js";
import { day, moment, number, reason, utcDay, words } from "./format.js";
import { request } from "./api.js";
import { makeChart } from "./chart.js";

const COLORS = ["--accent", "--second", "--amber", "--violet", "--bad", "--soft"];
const OTHER = "other";
const LIMIT = 20;
const MIN_DAYS = 14;
const DAY = 864e5;
const REFRESH_MILLISECONDS = 1500; // until a redriven record is stored or refused again
let chart = null,
  offset = 0;

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
  });
  chart.set([times, ...sums.toReversed()], series.toReversed());
}

function showLegend(counts, codes) {
  const countOf = (code) =>
    code === OTHER
      ? Object.entries(counts).reduce((sum, [c, n]) => (codes.includes(c) ? sum : sum + n), 0)
      : counts[code];
  $("reasons-legend").replaceChildren(
    ...codes.map((code, i) => make("span", `${reason(code)} ${number(countOf(code))}`, `key c${i}`)),
  );
}

function showReasonOptions(counts) {
  const options = Object.entries(counts).map(
    ([code, count]) => new Option(`${reason(code)} (${number(count)})`, code),
  );
  $("reason").replaceChildren(new Option("all", ""), ...options);
}

function showList(page) {
  fillRows("dead-letters", page.dead_letters, (letter) => {
    const openIt = () => showDeadLetter(letter.id);
    return [
      makeCell(makeButton(moment(letter.refused_at), "link", openIt)),
      make("td", reason(letter.reason)),
      make("td", letter.key ?? "none"),
      make("td", letter.state),
      make("td", letter.detail),
    ];
  });
  const count = page.dead_letters.length;
  fillPager("dead-letters-pager", { offset, limit: LIMIT, count, next: page.next_offset }, (to) => {
    offset = to;
    showRefused();
  });
  $("preview").disabled = !count;
  if (!count) $("redrive-result").textContent = "Nothing is refused.";
}

export async function showRefused() {
  const code = $("reason").value,
    query = new URLSearchParams({ limit: LIMIT, offset });
  if (code) query.set("reason", code);
  try {
    const page = await request(`dead-letters?${query}`);
    const codes = chartedReasons(page.counts);
    // The counts of one reason alone would leave no other to choose.
    if (!code) showReasonOptions(page.counts);
    drawReasons(page.by_day, codes);
    showLegend(page.counts, codes);
    showList(page);
  } catch (error) {
    $("redrive-result").textContent = error.message;
  }
}

function hexLines(hex) {
  return (hex || "").replace(/(.{32})/g, "$1\n").replace(/(..)/g, "$1 ");
}

async function showDeadLetter(id) {
  try {
    const letter = await request(`dead-letters/${encodeURIComponent(id)}`);
    $("dead-letter").hidden = false;
    $("dead-letter-name").textContent = `${reason(letter.reason)}: ${letter.detail}`;
    fillFacts("dead-letter-facts", [
      ["Id", letter.id],
      [
        "Origin",
        `${letter.origin_topic}-${letter.origin_partition} at ${number(letter.origin_offset)}, ${moment(letter.origin_timestamp)}`,
      ],
      ["State", `${letter.state}, attempt ${letter.attempts}`],
      ["Key", letter.key ?? "none"],
      ...letter.headers.map(({ name, value }) => [`Header ${name}`, value ?? "none"]),
    ]);
    $("dead-letter-value").textContent = letter.in_topic
      ? (letter.value ?? "The record has no value.")
      : "The topic no longer has it: it keeps records for 30 days.";
    $("dead-letter-hex").textContent = hexLines(letter.value_hex);
    $("dead-letter").scrollIntoView({ block: "nearest" });
  } catch (error) {
    $("redrive-result").textContent = error.message;
  }
}

function outcomeText(outcomes, left, send) {
  const verb = send ? "will" : "would";
  const texts = [
    ...Object.entries(outcomes).map(([code, count]) =>
      code === "stored"
        ? `${number(count)} ${verb} be stored`
        : `${number(count)} ${verb} be refused again (${reason(code)})`,
    ),
    ...Object.entries(left).map(([why, count]) => `${number(count)} left (${words(why)})`),
  ];
  return (send ? "Sent again: " : "Preview: ") + (texts.join(", ") || "nothing to send");
}

async function redrive(send) {
  $("redrive-result").textContent = "…";
  try {
    const rule = $("rule").value.trim();
    const { outcomes, left } = await request("dead-letters/redrive", {
      reason: $("reason").value || null,
      set: rule ? [rule] : [],
      send,
    });
    $("redrive-result").textContent = outcomeText(outcomes, left, send);
    $("send").disabled = send || !Object.keys(outcomes).length;
    if (send) setTimeout(showRefused, REFRESH_MILLISECONDS);
  } catch (error) {
    $("redrive-result").textContent = error.message;
  }
}

function changeReason() {
  $("send").disabled = true;
  $("redrive-result").textContent = "";
  offset = 0;
  showRefused();
}

export function prepareRefused() {
  $("reason").onchange = changeReason;
  // What was previewed is no longer what would be sent.
  $("rule").oninput = () => ($("send").disabled = true);
  $("preview").onclick = () => redrive(false);
  $("send").onclick = () => redrive(true);
}

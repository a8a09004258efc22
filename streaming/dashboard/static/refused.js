// Refused records: by day and reason, one opened with its bytes, and sent again after a dry run.
import { $, ask, make, moment, number, rows } from "./format.js";
import { makeChart } from "./chart.js";
import { pager } from "./history.js";

const COLORS = ["--accent", "--second", "--amber", "--violet", "--bad", "--soft"];
const LIMIT = 20;
let chart = null,
  offset = 0;

// Stacks the counts of each reason: the sums are drawn from the highest to the lowest.
function drawReasons(byDay, counts) {
  const reasons = Object.keys(counts).slice(0, COLORS.length);
  $("reasons").parentNode.hidden = !byDay.length;
  if (!byDay.length) return;
  const first = Date.parse(byDay[0][0]),
    last = Date.parse(byDay.at(-1)[0]),
    days = Math.max(14, (last - first) / 864e5 + 1);
  const times = Array.from({ length: days }, (_, i) => last / 1e3 - (days - 1 - i) * 86400);
  const raw = reasons.map(() => new Array(days).fill(0));
  for (const [at, reason, count] of byDay) {
    const row = raw[reasons.indexOf(reason)];
    if (row) row[Math.round((Date.parse(at) / 1e3 - times[0]) / 86400)] += count;
  }
  const sums = raw.map((_, i) =>
    times.map((__, t) => raw.slice(0, i + 1).reduce((sum, row) => sum + row[t], 0)),
  );
  const order = reasons.map((_, i) => reasons.length - 1 - i);
  const series = order.map((i) => ({
    label: reasons[i] || "unknown",
    color: COLORS[i],
    kind: "bars",
    raw: raw[i],
    show: number,
  }));
  chart ??= makeChart($("reasons"), {
    series,
    x: (t) =>
      new Date(t * 1e3).toLocaleDateString("en-GB", {
        timeZone: "UTC",
        day: "numeric",
        month: "short",
      }),
    left: (v) => (Number.isInteger(v) ? number(v) : ""),
    zone: () => "UTC",
  });
  chart.set([times, ...order.map((i) => sums[i])], series);
  $("reasons-legend").replaceChildren(
    ...reasons.map((reason, i) =>
      make("span", `${reason || "unknown"} ${number(counts[reason])}`, `key c${i}`),
    ),
  );
}

export async function showRefused() {
  const reason = $("reason").value,
    query = new URLSearchParams({ limit: LIMIT, offset });
  if (reason) query.set("reason", reason);
  try {
    const found = await ask(`dead-letters?${query}`);
    if (!reason)
      $("reason").replaceChildren(
        new Option("all", ""),
        ...Object.entries(found.counts).map(
          ([code, count]) => new Option(`${code} (${number(count)})`, code),
        ),
      );
    drawReasons(found.by_day, found.counts);
    rows("letters", found.dead_letters, (letter) => {
      const cell = make("td"),
        open = make("button", moment(letter.refused_at), "link");
      open.type = "button";
      open.onclick = () => showLetter(letter.id);
      cell.append(open);
      return [
        cell,
        make("td", letter.reason),
        make("td", letter.key ?? "none"),
        make("td", letter.state),
        make("td", letter.detail),
      ];
    });
    pager($("letters-pager"), offset, LIMIT, found, (to) => {
      offset = to;
      showRefused();
    });
    $("dry").disabled = !found.dead_letters.length;
    if (!found.dead_letters.length) $("redrive-said").textContent = "Nothing is refused.";
  } catch (error) {
    $("redrive-said").textContent = error.message;
  }
}

async function showLetter(id) {
  try {
    const found = await ask(`dead-letters/${encodeURIComponent(id)}`);
    $("letter").hidden = false;
    $("letter-name").textContent = `${found.reason}: ${found.detail}`;
    const facts = [
      ["Id", found.id],
      [
        "Came from",
        `${found.origin_topic}-${found.origin_partition} at ${number(found.origin_offset)}, ${moment(found.origin_timestamp)}`,
      ],
      ["State", `${found.state}, attempt ${found.attempts}`],
      ["Key", found.key ?? "none"],
      ...Object.entries(found.headers).map(([name, value]) => [`Header ${name}`, value ?? "none"]),
    ];
    $("letter-facts").replaceChildren(
      ...facts.flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
    );
    $("letter-value").textContent = found.in_topic
      ? (found.value ?? "It has no value.")
      : "The topic no longer holds it (it keeps 30 days).";
    $("letter-hex").textContent = (found.value_hex || "")
      .replace(/(.{32})/g, "$1\n")
      .replace(/(..)/g, "$1 ");
    $("letter").scrollIntoView({ block: "nearest" });
  } catch (error) {
    $("redrive-said").textContent = error.message;
  }
}

async function redrive(send) {
  $("redrive-said").textContent = "…";
  try {
    const rule = $("rule").value.trim();
    const done = await ask("dead-letters/redrive", {
      reason: $("reason").value || null,
      set: rule ? [rule] : [],
      send,
    });
    const parts = [
      ...Object.entries(done.outcomes).map(
        ([what, count]) =>
          `${number(count)} ${send ? "will" : "would"} be ${what === "stored" ? "stored" : `refused again (${what})`}`,
      ),
      ...Object.entries(done.left).map(([why, count]) => `${number(count)} left (${why})`),
    ];
    $("redrive-said").textContent =
      (send ? "Sent again: " : "Dry run: ") + (parts.join(", ") || "nothing to send");
    $("send").disabled = send || !Object.keys(done.outcomes).length;
    if (send) setTimeout(showRefused, 1500);
  } catch (error) {
    $("redrive-said").textContent = error.message;
  }
}

export function prepareRefused() {
  $("reason").onchange = () => {
    $("send").disabled = true;
    $("redrive-said").textContent = "";
    offset = 0;
    showRefused();
  };
  $("rule").oninput = () => {
    $("send").disabled = true;
  };
  $("dry").onclick = () => redrive(false);
  $("send").onclick = () => redrive(true);
}

"use strict";
// Every value of an event goes in as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-GB");
const oneDecimal = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const money = (text) => { const [whole, rest = "00"] = String(text).split("."); return number.format(BigInt(whole)).replace(/^(?=\d)/, whole.startsWith("-") && BigInt(whole) === 0n ? "-" : "") + "." + (rest + "00").slice(0, 2); };
const micros = (value) => money((value < 0 ? "-" : "") + Math.floor(Math.abs(value) / 1e6) + "." + String(Math.abs(value) % 1e6).padStart(6, "0"));
const make = (tag, text, className) => { const node = document.createElement(tag); if (text !== undefined) node.textContent = text; if (className) node.className = className; return node; };
let zone = "UTC", chart = null, lastSeen = 0, latest = null, status = null;

const clock = (ms, seconds = true) => new Date(ms).toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) });

function compare(node, now, before, names) {
  node.replaceChildren();
  names.forEach((name, index) => {
    const then = before[index];
    const line = make("span");
    if (!then) { line.textContent = `nothing ${name}`; }
    else {
      const share = (now - then) / Math.abs(then) * 100;
      line.append(make("span", `${share >= 0 ? "▲" : "▼"} ${oneDecimal.format(Math.abs(share))} %`, share >= 0 ? "up" : "down"), ` against ${name}`);
    }
    line.style.display = "block";
    node.append(line);
  });
}

function rows(id, items, cells) {
  const body = $(id).tBodies[0];
  while (body.rows.length < items.length) body.append(make("tr"));
  while (body.rows.length > items.length) body.lastChild.remove();
  items.forEach((item, index) => body.rows[index].replaceChildren(...cells(item, index)));
}

function name(item, description) {
  const cell = make("td"), span = make("span", item, "name");
  span.title = description ? `${item} · ${description}` : item;
  if (description) span.append(make("small", description));
  cell.append(span);
  return cell;
}

const fromZero = (_, least, most) => [Math.min(0, least), Math.max(1, most * 1.08)];

function drawChart(now) {
  const perMinute = 60 / now.bucket_seconds;
  const x = now.buckets.map((b) => b[0]);
  const revenue = now.buckets.map((_, i) => now.buckets.slice(Math.max(0, i - perMinute + 1), i + 1).reduce((sum, b) => sum + b[2], 0) / 1e6);
  const rate = now.buckets.map((b) => b[1] / now.bucket_seconds);
  const data = [x, revenue, rate];
  if (chart) { chart.setData(data); return; }
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--soft"), line = css.getPropertyValue("--line"), accent = css.getPropertyValue("--accent"), good = css.getPropertyValue("--good");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  chart = new uPlot({
    width: $("chart").clientWidth, height: $("chart").clientHeight - 8, tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), zone), legend: { show: false },
    cursor: { y: false }, scales: { y: { range: fromZero }, rate: { range: fromZero } },
    axes: [{ ...axis, grid: { show: false }, values: (_, v) => v.map((t) => clock(t * 1e3, false)) }, { ...axis, size: 66, values: (_, v) => v.map((n) => number.format(n)) }, { ...axis, side: 1, scale: "rate", grid: { show: false }, values: (_, v) => v.map((n) => oneDecimal.format(n)) }],
    series: [{}, { label: "revenue per minute", stroke: accent, width: 2, fill: accent.trim() + "1f", points: { show: false } }, { label: "purchases per second", scale: "rate", stroke: good, width: 1.5, dash: [4, 3], points: { show: false } }],
  }, data, $("chart"));
}

function showNow(now) {
  zone = now.timezone;
  const dayName = now.is_today ? "today" : now.day.day;
  $("day").textContent = now.is_today ? `${now.day.day}, in ${now.timezone}` : `No purchase today yet: the last day with some is ${now.day.day} (${now.timezone})`;
  for (const node of document.querySelectorAll(".day-name")) node.textContent = dayName;
  $("items").textContent = number.format(now.day.items_sold);
  $("currency").textContent = now.currency;
  $("revenue").textContent = money(now.day.net_revenue);
  $("rate").textContent = oneDecimal.format(now.events_per_second);
  $("refused").textContent = `${(now.refused_share * 100).toFixed(2)} %`;
  $("refused-compare").textContent = `${number.format(now.refused)} of ${number.format(now.events + now.refused)}` + (now.top_reason ? `, mostly ${now.top_reason}` : "");
  const names = ["yesterday by this time", "last week by this time"];
  compare($("items-compare"), now.day.items_sold, now.is_today ? [now.yesterday.items_sold, now.last_week.items_sold] : [], now.is_today ? names : []);
  compare($("revenue-compare"), now.day.net_revenue_micros, now.is_today ? [now.yesterday.net_revenue_micros, now.last_week.net_revenue_micros] : [], now.is_today ? names : []);
  drawChart(now);
  rows("popular-today", now.popular_today, (item, index) => {
    const change = item.change, said = change === null ? "new" : change > 0 ? `▲ ${change}` : change < 0 ? `▼ ${-change}` : "–";
    return [make("td", index + 1), name(item.item, item.description), make("td", number.format(item.items_sold), "n"), make("td", said, "n" + (change > 0 ? " up" : change < 0 ? " down" : ""))];
  });
  rows("popular-ever", now.popular_ever, (item, index) => [make("td", index + 1), name(item.item, item.description), make("td", number.format(item.items_sold), "n"), make("td", money(item.net_revenue), "n")]);
  const most = Math.max(1, ...now.countries.map((c) => c[1]));
  $("countries").replaceChildren(...now.countries.map(([country, sold]) => {
    const bar = make("div", undefined, "bar"), progress = make("progress");
    progress.max = most; progress.value = Math.max(sold, 0); progress.setAttribute("aria-hidden", "true");
    bar.append(progress, make("span", country), make("span", number.format(sold)));
    return bar;
  }));
  $("latest").replaceChildren(...now.latest.map((purchase) => {
    const line = make("li"), what = make("span", `${number.format(purchase.quantity)} × ${purchase.description || purchase.item}`, "name");
    what.title = purchase.item;
    line.append(make("time", clock(purchase.event_time / 1e3)), what, make("span", purchase.amount_micros === null ? "price unknown" : micros(purchase.amount_micros), "n"));
    return line;
  }));
  $("verified").textContent = `All time: ${number.format(now.items_sold)} items sold, ${money(now.net_revenue)} ${now.currency} net. ` + (now.verified ? `Last verified ${now.verified.finished_at.slice(0, 19).replace("T", " ")} UTC: ${now.verified.agrees ? "everything agrees" : "something does not agree"}.` : "Never verified yet.");
}

const lag = (app) => app.lag_records === null ? "lag unknown" : `${number.format(app.lag_records)} behind` + (app.lag_seconds ? `, ${oneDecimal.format(app.lag_seconds)} s` : "");
const drain = (app) => !app.lag_records || app.lag_seconds < 5 ? "" : app.seconds_to_drain === null ? "does not catch up" : `caught up in ${oneDecimal.format(app.seconds_to_drain)} s`;

function stage(title, state, good, ...lines) {
  const node = make("div", undefined, "stage");
  node.append(make("strong", title), make("span", state, "state " + (good ? "good" : "bad")), ...lines.map((line) => make("p", line)));
  return node;
}

function showStatus(found) {
  status = found;
  const [processor, analytics] = found.apps, fine = (app) => ["running", "caught_up", "behind", "standby"].includes(app.state);
  const broker = found.broker.state === "answering", store = found.database.state === "ok";
  const ends = (topic) => number.format(found.partitions.filter((p) => p.topic.endsWith(topic)).reduce((sum, p) => sum + p.end, 0));
  $("verdict").textContent = found.verdict;
  $("verdict").className = "verdict " + (found.healthy ? "good" : "bad");
  $("problems").replaceChildren(...found.problems.map((problem) => { const line = make("li", problem.sentence === found.verdict ? "" : problem.sentence); line.append(make("small", problem.remedy)); return line; }));
  $("pipeline").replaceChildren(
    stage("purchases", broker ? "topic" : "broker down", broker, `${ends("purchases")} records`),
    stage("processor", processor.state.replace("_", " "), fine(processor), `${oneDecimal.format(processor.in_per_second)} per second`, lag(processor), drain(processor)),
    stage("analytics", broker ? "topic" : "broker down", broker, `${ends("analytics")} records`),
    stage("consumer", analytics.state.replace("_", " "), fine(analytics), `${oneDecimal.format(analytics.in_per_second)} per second`, lag(analytics), drain(analytics)),
    stage("database", found.database.state, store, `${number.format(found.database.events ?? 0)} events`, `${number.format(found.database.refused ?? 0)} refused`),
  );
  rows("slots", found.apps.flatMap((app) => app.slots.map((slot) => ({ app: app.app, ...slot }))), (slot) => [make("td", `${slot.app}-${slot.slot}`), make("td", slot.state.replace("_", " ") + (slot.detail ? `: ${slot.detail}` : "")), make("td", oneDecimal.format(slot.in_per_second), "n"), make("td", slot.restarts ?? "–", "n")]);
  rows("partitions", found.partitions, (p) => [make("td", `${p.topic}-${p.partition}`), make("td", number.format(p.position), "n"), make("td", number.format(p.lag_records), "n"), make("td", p.lag_seconds === null ? "?" : oneDecimal.format(p.lag_seconds), "n")]);
}

async function ask(path, body) {
  const answer = await fetch(`/api/v1/${path}`, body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail || content.title);
  return content;
}

async function showRefused() {
  const reason = $("reason").value;
  try {
    const found = await ask("dead-letters" + (reason ? `?reason=${encodeURIComponent(reason)}` : ""));
    if (!reason) {
      $("reason").replaceChildren(new Option("all", ""), ...Object.entries(found.counts).map(([code, count]) => new Option(`${code} (${number.format(count)})`, code)));
    }
    rows("letters", found.dead_letters, (letter) => [make("td", (letter.refused_at || "").slice(0, 19).replace("T", " ")), make("td", letter.reason), make("td", letter.key ?? "none"), make("td", letter.state), make("td", letter.detail)]);
    [...$("letters").tBodies[0].rows].forEach((row, index) => { row.tabIndex = 0; row.onclick = () => showLetter(found.dead_letters[index].id); row.onkeydown = (event) => { if (event.key === "Enter") showLetter(found.dead_letters[index].id); }; });
    if (!found.dead_letters.length) $("redrive-said").textContent = "Nothing is refused.";
  } catch (error) { $("redrive-said").textContent = error.message; }
}

async function showLetter(id) {
  try {
    const found = await ask(`dead-letters/${encodeURIComponent(id)}`);
    $("letter").hidden = false;
    $("letter-name").textContent = `${found.id}: ${found.reason}, ${found.detail} (attempt ${found.attempts})`;
    $("letter-value").textContent = found.in_topic ? found.value ?? "It has no value." : "The topic no longer holds it (it keeps 30 days).";
    $("letter-hex").textContent = (found.value_hex || "").replace(/(.{32})/g, "$1\n").replace(/(..)/g, "$1 ");
    $("letter").scrollIntoView({ block: "nearest" });
  } catch (error) { $("redrive-said").textContent = error.message; }
}

async function redrive(send) {
  $("redrive-said").textContent = "…";
  try {
    const rule = $("rule").value.trim();
    const done = await ask("dead-letters/redrive", { reason: $("reason").value || null, set: rule ? [rule] : [], send });
    const parts = [...Object.entries(done.outcomes).map(([what, count]) => `${number.format(count)} ${send ? "will" : "would"} be ${what === "stored" ? "stored" : `refused again (${what})`}`), ...Object.entries(done.left).map(([why, count]) => `${number.format(count)} left (${why})`)];
    $("redrive-said").textContent = (send ? "Sent again: " : "Dry run: ") + (parts.join(", ") || "nothing to send");
    $("send").disabled = send || !Object.keys(done.outcomes).length;
    if (send) setTimeout(showRefused, 1500);
  } catch (error) { $("redrive-said").textContent = error.message; }
}

function route() {
  const view = ["now", "stream", "refused"].includes(location.hash.slice(1)) ? location.hash.slice(1) : "now";
  for (const each of ["now", "stream", "refused"]) {
    $(`view-${each}`).hidden = each !== view;
    if (each === view) $(`tab-${each}`).setAttribute("aria-current", "page"); else $(`tab-${each}`).removeAttribute("aria-current");
  }
  if (view === "refused") showRefused();
  if (view === "now" && latest) { if (chart) { chart.destroy(); chart = null; } showNow(latest); }
}

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("now", (event) => {
    latest = JSON.parse(event.data);
    lastSeen = Date.now();
    $("trouble").hidden = true;
    $("asof").textContent = `as of ${clock(Date.parse(latest.as_of))} ${latest.timezone}`;
    if (!$("view-now").hidden) showNow(latest);
  });
  source.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
  source.addEventListener("trouble", (event) => { lastSeen = Date.now(); $("trouble").hidden = false; $("trouble").textContent = event.data; });
}

setInterval(() => {
  const stale = Date.now() - lastSeen > 5000;
  document.body.classList.toggle("stale", stale && lastSeen > 0);
  document.body.classList.toggle("live", !stale);
  if (stale && lastSeen > 0) $("asof").textContent = `no news since ${clock(lastSeen)} ${zone}: these figures are old`;
}, 1000);
addEventListener("hashchange", route);
addEventListener("resize", () => { if (chart) chart.setSize({ width: $("chart").clientWidth, height: $("chart").clientHeight - 8 }); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", route);
$("reason").onchange = () => { $("send").disabled = true; showRefused(); };
$("rule").oninput = () => { $("send").disabled = true; };
$("dry").onclick = () => redrive(false);
$("send").onclick = () => redrive(true);
$("verify").onclick = async () => {
  $("verify").disabled = true; $("verify-said").textContent = "reading everything …";
  try { const found = await ask("verify", {}); $("verify-said").textContent = found.agrees ? "Everything agrees." : `${number.format(found.differences)} differences: ${found.examples[0]}`; }
  catch (error) { $("verify-said").textContent = error.message; }
  $("verify").disabled = false;
};
route();
listen();

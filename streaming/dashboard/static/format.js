// Figures and times as people read them, and nodes made of text: every value of an event goes in
// as text (textContent), never as markup.
export const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-GB");
const fraction = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
export const state = { zone: "UTC", currency: "" };

export const number = (value) => whole.format(value).replace("-", "−");
export const decimal = (value) => fraction.format(value);
export const micros = (value) =>
  money(
    (value < 0 ? "-" : "") +
      Math.floor(Math.abs(value) / 1e6) +
      "." +
      String(Math.abs(value) % 1e6).padStart(6, "0"),
  );
export const compact = (value) =>
  Math.abs(value) < 10000
    ? number(Math.round(value * 100) / 100)
    : new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 }).format(
        value,
      );

export function money(text) {
  const [, sign, units, rest = "00"] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(text)) ?? [
    "",
    "",
    "0",
  ];
  return (sign ? "−" : "") + whole.format(BigInt(units)) + "." + (rest + "00").slice(0, 2);
}

export function clock(ms, seconds = true) {
  return new Date(ms).toLocaleTimeString("en-GB", {
    timeZone: state.zone,
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
  });
}

export function moment(text) {
  return text
    ? new Date(text).toLocaleString("en-GB", {
        timeZone: state.zone,
        year: "numeric",
        month: "short",
        day: "numeric",
        hour: "2-digit",
        minute: "2-digit",
      })
    : "never";
}

export function day(text) {
  return new Date(`${text}T12:00:00Z`).toLocaleDateString("en-GB", {
    timeZone: "UTC",
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
  });
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${decimal(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${decimal(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${decimal(value)} ${units[index]}`;
}

export function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

// Fills a table's body, reusing its rows so that nothing jumps.
export function rows(id, items, cells) {
  const body = $(id).tBodies[0];
  while (body.rows.length < items.length) body.append(make("tr"));
  while (body.rows.length > items.length) body.lastChild.remove();
  items.forEach((item, index) => body.rows[index].replaceChildren(...cells(item, index)));
}

export function named(name, more, pick) {
  const cell = make("td"),
    inside = make("span", undefined, "name");
  inside.title = more ? `${name} · ${more}` : name;
  if (pick) {
    const button = make("button", name, "link");
    button.type = "button";
    button.onclick = pick;
    inside.append(button);
  } else {
    inside.append(make("span", name));
  }
  if (more) inside.append(make("small", more));
  cell.append(inside);
  return cell;
}

// Says how a figure stands: current, provisional, or behind the stream by so many events.
export function badge(standing) {
  const [word, kind] = standing.failed
    ? [`${number(standing.failed)} failed`, "failed"]
    : standing.behind
      ? [
          `behind by ${number(standing.behind)} ${standing.behind === 1 ? "event" : "events"}`,
          "late",
        ]
      : standing.provisional_days
        ? ["provisional", "provisional"]
        : ["current", "current"];
  const node = make("span", word, `badge ${kind}`);
  node.title =
    standing.table === "analytics_event"
      ? "from the events themselves"
      : `${standing.table}, oldest build ${moment(standing.built_at)}`;
  return node;
}

// Writes how a figure changed against others, one line each.
export function compare(node, now, before) {
  node.replaceChildren(
    ...before.map(([then, name]) => {
      const line = make("span", undefined, "line");
      if (!then) {
        line.textContent = `nothing ${name} to compare with`;
        return line;
      }
      const share = ((now - then) / Math.abs(then)) * 100;
      line.append(
        make(
          "b",
          `${share >= 0 ? "▲" : "▼"} ${decimal(Math.abs(share))} %`,
          share >= 0 ? "up" : "down",
        ),
        ` on ${name}`,
      );
      return line;
    }),
  );
}

export async function ask(path, body) {
  const answer = await fetch(
    `/api/v1/${path}`,
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        },
  );
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail || content.title);
  return content;
}

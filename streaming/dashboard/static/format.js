// Figures, times and codes as people read them: pure functions that return text.
// The words are English; numbers, dates and times are as the browser's languages write them.
const locale = navigator.languages;
const whole = new Intl.NumberFormat(locale);
const fraction = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(locale, {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
  roundingMode: "trunc",
});
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const COMPACT_FROM = 10_000;
const MICROS = 1e6;

// The deployment's time zone and currency, as the first answer names them.
export const deployment = { zone: "UTC", currency: "" };

export const number = (value) => whole.format(value).replace("-", "−");
export const decimal = (value) => fraction.format(value);
export const compact = (value) =>
  Math.abs(value) < COMPACT_FROM ? number(Math.round(value * 100) / 100) : short.format(value);
export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
export const words = (code) => code.replaceAll("_", " ").replace("json", "JSON");

// Takes an exact decimal text, of which `Intl` loses nothing; a double would round a large sum.
export const money = (text) => hundredths.format(text).replace("-", "−");

export function moneyOfMicros(micros) {
  const size = Math.abs(micros);
  const cents = String(size % MICROS).padStart(6, "0");
  return money(`${micros < 0 ? "-" : ""}${Math.floor(size / MICROS)}.${cents}`);
}

export const amount = (value) => `${money(value.toFixed(2))} ${deployment.currency}`;

export function clock(ms, { seconds = true } = {}) {
  return new Date(ms).toLocaleTimeString(locale, {
    timeZone: deployment.zone,
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
  });
}

// The hour (0 to 23) and the minute that a clock of the deployment shows.
export const wallClock = (ms) =>
  new Date(ms)
    .toLocaleTimeString("en-GB", { timeZone: deployment.zone, hour: "2-digit", minute: "2-digit" })
    .split(":")
    .map(Number);

// The time of day of a moment (epoch ms) in UTC.
export const hourOfDay = (ms, { minutes = false } = {}) =>
  new Date(ms).toLocaleTimeString(locale, {
    timeZone: "UTC",
    hour: "numeric",
    ...(minutes ? { minute: "2-digit" } : {}),
  });

export function moment(text) {
  if (!text) return "never";
  const date = new Date(text);
  const isThisYear = date.getUTCFullYear() === new Date().getUTCFullYear();
  return date.toLocaleString(locale, {
    timeZone: deployment.zone,
    ...(isThisYear ? {} : { year: "numeric" }),
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

// `date` is a calendar day such as 2026-03-01, which no time zone may move; with `month` its month.
export function day(date, { exact = true, month = false } = {}) {
  const parts = month
    ? { month: "short", year: "numeric" }
    : { day: "numeric", month: "short", ...(exact ? { weekday: "short", year: "numeric" } : {}) };
  return new Date(`${date}T12:00:00Z`).toLocaleDateString(locale, { timeZone: "UTC", ...parts });
}

export const weekday = (ms) =>
  new Date(ms).toLocaleDateString(locale, { timeZone: "UTC", weekday: "short" });

export const utcDay = (ms) => new Date(ms).toISOString().slice(0, 10);
// Sweden writes dates as ISO 8601 does.
export const localDay = (ms) =>
  new Date(ms).toLocaleDateString("sv-SE", { timeZone: deployment.zone });

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${decimal(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${decimal(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), units.length - 1);
  return `${decimal(value / 1024 ** power)} ${units[power]}`;
}

// The name of a table in words: `daily_item_sales` is "Daily item sales".
export function tableTitle(name) {
  const title = words(name.replace(/^sql_/, ""));
  return title[0].toUpperCase() + title.slice(1);
}

// The code of a refusal in words: `invalid_price` is "price not valid".
export function reason(code) {
  if (!code) return "unknown";
  const [, kind, field] = /^(invalid|missing)_(.+)$/.exec(code) ?? [];
  if (kind === "invalid") return `${words(field)} not valid`;
  return kind === "missing" ? `${words(field)} missing` : words(code);
}

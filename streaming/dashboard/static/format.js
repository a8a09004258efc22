// Figures, times and codes as people read them: pure functions that return text.
const whole = new Intl.NumberFormat("en-GB");
const fraction = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
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

// Takes an exact decimal text, because a double would round a large sum.
export function money(text) {
  const [, sign, units, rest] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? ["", "", "0", ""];
  return `${sign && "−"}${whole.format(BigInt(units))}.${(rest ?? "").padEnd(2, "0").slice(0, 2)}`;
}

export function moneyOfMicros(micros) {
  const size = Math.abs(micros);
  const cents = String(size % MICROS).padStart(6, "0");
  return money(`${micros < 0 ? "-" : ""}${Math.floor(size / MICROS)}.${cents}`);
}

export const amount = (value) => `${money(value.toFixed(2))} ${deployment.currency}`;

export function clock(ms, { seconds = true } = {}) {
  return new Date(ms).toLocaleTimeString("en-GB", {
    timeZone: deployment.zone,
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
  });
}

export function moment(text) {
  if (!text) return "never";
  const date = new Date(text);
  const isThisYear = date.getUTCFullYear() === new Date().getUTCFullYear();
  return date.toLocaleString("en-GB", {
    timeZone: deployment.zone,
    ...(isThisYear ? {} : { year: "numeric" }),
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

// `date` is a calendar day such as 2026-03-01, which no time zone may move.
export function day(date, { exact = true } = {}) {
  return new Date(`${date}T12:00:00Z`).toLocaleDateString("en-GB", {
    timeZone: "UTC",
    day: "numeric",
    month: "short",
    ...(exact ? { weekday: "short", year: "numeric" } : {}),
  });
}

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

// The code of a refusal in words: `invalid_price` is "price not valid".
export function reason(code) {
  if (!code) return "unknown";
  const [, kind, field] = /^(invalid|missing)_(.+)$/.exec(code) ?? [];
  if (kind === "invalid") return `${words(field)} not valid`;
  return kind === "missing" ? `${words(field)} missing` : words(code);
}

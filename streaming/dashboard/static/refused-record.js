// One refused record beside the list: its bytes, its command line, and buttons that copy them.
import { $, fillFacts, make, makeButton } from "./dom.js";
import { moment, number, reason } from "./format.js";
import { request } from "./api.js";

const COPIED_MILLISECONDS = 1500;

const parameters = () => new URLSearchParams(location.hash.split("?")[1] ?? "");

// The address names it, so that it can be passed on and outlives a reload.
export const openedRecord = () => parameters().get("id");

export function setOpenedRecord(id) {
  const given = parameters();
  if (id) given.set("id", id);
  else given.delete("id");
  const query = given.size ? `?${given}` : "";
  history.replaceState(null, "", location.hash.split("?")[0] + query);
}

// A text as one word of a shell.
const quoted = (text) => (/^[\w.:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function copyButton(text) {
  const button = makeButton("Copy", "copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Browsers give the clipboard to loopback and to TLS only.
      button.textContent = "Select it to copy";
    }
    setTimeout(() => (button.textContent = "Copy"), COPIED_MILLISECONDS);
  });
  return button;
}

function copyable(text) {
  const node = make("span", undefined, "copyable");
  node.append(make("code", text), copyButton(text));
  return node;
}

function commands(deadLetter, rules) {
  const repair = rules.map((rule) => ` --set ${quoted(rule)}`).join("");
  // An id may begin with a dash, which would be an option.
  const id = `-- ${quoted(deadLetter.id)}`;
  return [
    ["Show it", copyable(`purchases dlq show ${id}`)],
    ["Send it again", copyable(`purchases dlq redrive${repair} --yes ${id}`)],
  ];
}

function factsOf(deadLetter, rules) {
  const { origin_topic, origin_partition, origin_offset } = deadLetter;
  const origin = `${origin_topic}-${origin_partition} at ${number(origin_offset)}`;
  return [
    ["Id", copyable(deadLetter.id)],
    ["Origin", `${origin}, ${moment(deadLetter.origin_timestamp)}`],
    ["State", `${deadLetter.state}, attempt ${deadLetter.attempts}`],
    ["Key", deadLetter.key ?? "none"],
    ...deadLetter.headers.map(({ name, value }) => [`Header ${name}`, value ?? "none"]),
    ...(deadLetter.framing ? [["Framing", deadLetter.framing]] : []),
    ...(deadLetter.decoded ? [["By its schema", copyable(deadLetter.decoded)]] : []),
    ...commands(deadLetter, rules),
  ];
}

const hexLines = (hex) => (hex || "").replace(/(.{32})/g, "$1\n").replace(/(..)/g, "$1 ");

// Shows the record of the address, or none; `rules` returns the repair that was chosen.
export async function showRecord(rules) {
  const id = openedRecord();
  $("dead-letter").hidden = !id;
  if (!id) return;
  const deadLetter = await request(`dead-letters/${encodeURIComponent(id)}`);
  $("dead-letter-name").textContent = `${reason(deadLetter.reason)}: ${deadLetter.detail}`;
  fillFacts("dead-letter-facts", factsOf(deadLetter, rules()));
  $("dead-letter-value").textContent = deadLetter.in_topic
    ? (deadLetter.value ?? "The record has no value.")
    : "The topic no longer has it: it keeps records for 30 days.";
  $("dead-letter-copy").replaceChildren(...(deadLetter.value ? [copyButton(deadLetter.value)] : []));
  $("dead-letter-hex").textContent = hexLines(deadLetter.value_hex);
}

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

function commands(letter, rules) {
  const repair = rules.map((rule) => ` --set ${quoted(rule)}`).join("");
  // An id may begin with a dash, which would be an option.
  const id = `-- ${quoted(letter.id)}`;
  return [
    ["Show it", copyable(`purchases dlq show ${id}`)],
    ["Send it again", copyable(`purchases dlq redrive${repair} --yes ${id}`)],
  ];
}

function factsOf(letter, rules) {
  const origin = `${letter.origin_topic}-${letter.origin_partition} at ${number(letter.origin_offset)}`;
  return [
    ["Id", copyable(letter.id)],
    ["Origin", `${origin}, ${moment(letter.origin_timestamp)}`],
    ["State", `${letter.state}, attempt ${letter.attempts}`],
    ["Key", letter.key ?? "none"],
    ...letter.headers.map(({ name, value }) => [`Header ${name}`, value ?? "none"]),
    ...(letter.framing ? [["Framing", letter.framing]] : []),
    ...(letter.decoded ? [["By its schema", copyable(letter.decoded)]] : []),
    ...commands(letter, rules),
  ];
}

const hexLines = (hex) => (hex || "").replace(/(.{32})/g, "$1\n").replace(/(..)/g, "$1 ");

// Shows the record of the address, or none; `rules` returns the repair that was chosen.
export async function showRecord(rules) {
  const id = openedRecord();
  $("dead-letter").hidden = !id;
  if (!id) return;
  const letter = await request(`dead-letters/${encodeURIComponent(id)}`);
  $("dead-letter-name").textContent = `${reason(letter.reason)}: ${letter.detail}`;
  fillFacts("dead-letter-facts", factsOf(letter, rules()));
  $("dead-letter-value").textContent = letter.in_topic
    ? (letter.value ?? "The record has no value.")
    : "The topic no longer has it: it keeps records for 30 days.";
  $("dead-letter-copy").replaceChildren(...(letter.value ? [copyButton(letter.value)] : []));
  $("dead-letter-hex").textContent = hexLines(letter.value_hex);
}

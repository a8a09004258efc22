// The search box of History: items, countries, customers and orders by a part of their name.
import { $, make } from "./dom.js";
import { request } from "./api.js";
import { go } from "./history-address.js";
import { LISTS, choose, descriptions } from "./history-lists.js";

const PAUSE_MILLISECONDS = 200;
let hits = [],
  active = -1,
  requests = 0,
  waiting;

function open({ kind, name, first, last }) {
  close();
  $("search").value = "";
  if (kind === "order") go({ order: name, from: first, to: last }, LISTS);
  else choose(kind, name);
}

function close() {
  $("search-list").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  $("search").removeAttribute("aria-activedescendant");
}

function optionOf(entry, index) {
  const node = make("li", undefined, "option");
  node.id = `found-${index}`;
  node.setAttribute("role", "option");
  node.append(
    make("span", entry.description ?? entry.name, "name"),
    make("small", entry.description ? `${entry.kind} ${entry.name}` : entry.kind),
  );
  // Before the box loses the focus, which closes the list.
  node.onmousedown = (event) => {
    event.preventDefault();
    open(entry);
  };
  return node;
}

function mark(index) {
  active = index;
  [...$("search-list").children].forEach((node, i) =>
    node.setAttribute("aria-selected", String(i === active)),
  );
  if (active < 0) return;
  $("search").setAttribute("aria-activedescendant", `found-${active}`);
  $(`found-${active}`)?.scrollIntoView({ block: "nearest" });
}

function show(entries, none) {
  hits = entries;
  for (const { kind, name, description } of entries)
    if (kind === "item" && description) descriptions.set(name, description);
  $("search-list").replaceChildren(...entries.map(optionOf));
  $("search-list").hidden = !entries.length;
  $("search").setAttribute("aria-expanded", String(Boolean(entries.length)));
  $("search-none").textContent = entries.length ? "" : none;
  mark(entries.length ? 0 : -1);
}

async function search() {
  const text = $("search").value.trim(),
    thisRequest = ++requests;
  if (!text) return show([], "");
  try {
    const { found: entries } = await request(`search?${new URLSearchParams({ text })}`);
    if (thisRequest === requests) show(entries, `Nothing is named like ${text}.`);
  } catch (error) {
    if (thisRequest === requests) show([], error.message);
  }
}

function press(event) {
  const last = hits.length - 1;
  if (event.key === "Escape") close();
  if (event.key === "ArrowDown") mark(Math.min(last, active + 1));
  if (event.key === "ArrowUp") mark(Math.max(0, active - 1));
  if (event.key === "Enter" && hits[active]) open(hits[active]);
  if (["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) event.preventDefault();
}

export function prepareSearch() {
  $("search").oninput = () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, PAUSE_MILLISECONDS);
  };
  $("search").onkeydown = press;
  $("search").onblur = close;
}

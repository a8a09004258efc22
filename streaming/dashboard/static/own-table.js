// The table of a `.sql` file on History: its rows of the days that are shown, as the file names them.
import { $, fillAnswer, fillPager, lateBadges } from "./dom.js";
import { localDay, plural, tableTitle } from "./format.js";
import { request } from "./api.js";
import { go } from "./history-address.js";

const LIMIT = 10;

function showChoice(tables, table) {
  $("own-table").replaceChildren(...tables.map((name) => new Option(tableTitle(name), name)));
  $("own-table").value = table;
}

function setDownloads(table, { first, last }) {
  const days = new URLSearchParams({ from: first, to: last });
  for (const [id, format] of [
    ["own-csv", "spreadsheet"],
    ["own-parquet", "parquet"],
  ])
    $(id).href = `/api/v1/export/${table}?${days}&format=${format}`;
}

export async function showOwnTable({ own, rows: offset, subject }, { first, last }) {
  const query = new URLSearchParams({ from: first, to: last, limit: LIMIT, offset });
  if (own) query.set("table", own);
  const answer = await request(`sql-tables?${query}`);
  $("own").hidden = !answer.table;
  if (!answer.table) return;
  const { table, columns, rows, total, next_offset: next, standing } = answer;
  showChoice(answer.tables, table);
  setDownloads(table, answer);
  fillAnswer("own-rows", columns, rows);
  const isFiltered = Object.keys(subject).length > 0;
  $("own-total").textContent = plural(total, "row") + (isFiltered ? ", of the whole shop" : "");
  $("own-freshness").replaceChildren(...lateBadges(standing, last >= localDay(Date.now())));
  const none = standing.missing_days ? "not built yet" : "no row in these days";
  fillPager("own-pager", { offset, limit: LIMIT, count: rows.length, next, none }, (to) =>
    go({ own: table, rows: to }),
  );
}

export function prepareOwnTable() {
  $("own-table").onchange = () => go({ own: $("own-table").value, rows: null });
}

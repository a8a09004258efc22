// Figures over time, drawn by uPlot: areas, bars and lines, with the values under the pointer.
import { make } from "./dom.js";

const DAY_SECONDS = 86_400;
const LABEL_PIXELS = 76;
const HEADROOM = 1.08;
const WIDEST_BAR = 56; // on a wall too the range before is wider than the bar before it
const MIN_DRAG_PIXELS = 6;
const TIP_OFFSET = 66;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const scaleOf = (one) => one.scale ?? "y";
const isKnown = (value) => value !== null && value !== undefined;

// Diagonal lines of a colour, as wide as the gaps between them.
function hatching(stroke) {
  const tile = document.createElement("canvas"),
    size = 8 * devicePixelRatio,
    pen = tile.getContext("2d");
  tile.width = tile.height = size;
  pen.strokeStyle = stroke;
  pen.lineWidth = size / 4;
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

function uplotSeries(one) {
  const stroke = color(one.color);
  const shape = { label: one.label, stroke, scale: scaleOf(one), points: { show: false } };
  const bars = (share) => uPlot.paths.bars({ size: [share, share * WIDEST_BAR], radius: 0.15 });
  if (one.kind === "bars") return { ...shape, fill: stroke, width: 0, paths: bars(0.72) };
  if (one.kind === "backdrop") return { ...shape, fill: stroke, width: 0, paths: bars(0.96) };
  if (one.kind === "hatched") return { ...shape, fill: hatching(stroke), width: 0, paths: bars(0.96) };
  if (one.kind === "area") return { ...shape, width: 2, fill: `${stroke}24` };
  return { ...shape, width: 1.5, dash: [4, 3] };
}

// Both scales have zero at the same height, also if one goes below it.
function bounds(series, data, scale) {
  const valuesOf = (name) =>
    series.flatMap((one, i) => (scaleOf(one) === name ? data[i + 1].filter(isKnown) : []));
  const shareBelow = (values) => -Math.min(0, ...values) / Math.max(1e-9, ...values);
  const below = Math.max(0, ...["y", "rate"].map((name) => shareBelow(valuesOf(name))));
  const highest = Math.max(0, ...valuesOf(scale)) * HEADROOM || 1;
  return [-Math.min(below, 1) * highest, highest];
}

function everyFew(times, most) {
  const step = Math.max(1, Math.ceil(times.length / Math.max(1, most)));
  return times.filter((_, i) => i % step === 0);
}

function makeAxes({ x, left, right }, hasBars) {
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui",
  };
  const axes = [
    {
      ...axis,
      grid: { show: false },
      size: 30,
      space: LABEL_PIXELS,
      // Each label is of one bar, under it; between two bars it would say one of them again.
      ...(hasBars ? { splits: (plot) => everyFew(plot.data[0], plot.width / LABEL_PIXELS) } : {}),
      values: (_, ticks) => ticks.map((t) => x(t)),
    },
    { ...axis, size: 58, values: (_, ticks) => ticks.map((v) => left(v)) },
  ];
  if (right)
    axes.push({
      ...axis,
      side: 1,
      scale: "rate",
      size: 46,
      grid: { show: false },
      values: (_, ticks) => ticks.map((v) => (v < 0 ? "" : right(v))),
    });
  return axes;
}

function fillTip(tip, { x, series }, data, index) {
  const valueOf = (one, i) => (one.raw ? one.raw[index] : data[i + 1][index]);
  tip.replaceChildren(
    make("strong", x(data[0][index], true)),
    ...series.flatMap((one, i) =>
      isKnown(data[i + 1][index]) ? [make("span", `${one.label}: ${one.show(valueOf(one, i))}`)] : [],
    ),
  );
}

// Half a bar on both sides, so that the first and the last are whole.
function rangeOfTime(times, hasBars, from, to) {
  const half = hasBars ? (times[1] - times[0]) / 2 || DAY_SECONDS / 2 : 0;
  return [from - half, to + half];
}

// `currentData` returns what is drawn: these settings outlive the data of the first drawing.
function uplotSettings(node, options, currentData) {
  const { series, zone, pick } = options,
    hasBars = series.some((one) => one.kind === "bars");
  return {
    width: node.clientWidth,
    height: node.clientHeight,
    legend: { show: false },
    axes: makeAxes(options, hasBars),
    tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), zone()),
    cursor: {
      y: false,
      drag: { x: Boolean(pick), y: false, setScale: false },
      points: { show: false },
    },
    scales: {
      x: { range: (_, from, to) => rangeOfTime(currentData()[0], hasBars, from, to) },
      y: { range: () => bounds(series, currentData(), "y") },
      rate: { range: () => bounds(series, currentData(), "rate") },
    },
    series: [{}, ...series.map(uplotSeries)],
  };
}

// What the chart shows, for who cannot see it: filled when it is opened, and by the function returned.
function makeTable(node, options, currentData) {
  const details = make("details", undefined, "chart-table"),
    table = make("table");
  details.append(make("summary", "Show as a table"), table);
  const fill = () => {
    if (details.open) fillTable(table, options, currentData());
    else table.replaceChildren();
  };
  details.ontoggle = fill;
  node.after(details);
  return fill;
}

function fillTable(table, { table: texts, x, series }, data) {
  const head = make("tr"),
    body = make("tbody"),
    valuesOf = (one) => one.raw ?? data[series.indexOf(one) + 1],
    shown = series.filter((one) => data && valuesOf(one).some(isKnown));
  for (const text of [texts.head, ...shown.map((one) => one.label)]) {
    const cell = make("th", text);
    cell.scope = "col";
    head.append(cell);
  }
  (data?.[0] ?? []).forEach((time, index) => {
    const row = make("tr");
    row.append(
      make("td", x(time, true)),
      ...shown.map((one) => {
        const value = valuesOf(one)[index];
        return make("td", isKnown(value) ? one.show(value) : "–");
      }),
    );
    body.append(row);
  });
  const top = make("thead");
  top.append(head);
  table.replaceChildren(make("caption", texts.caption), top, body);
}

// Draws into `node`. `series` are { label, color, kind: area|bars|backdrop|hatched|line, scale?, show, raw? }
// with `show(value)` as text; `x(second, exact)` labels a time, `left` and `right` label axis values,
// and `pick(from, to)` gets what was chosen by dragging, in epoch seconds. With `table`, a
// { caption, head }, a table of the same values can be opened below.
export function makeChart(node, options) {
  let plot = null,
    data = null;
  const tip = make("div", undefined, "tip");
  tip.hidden = true;

  function moveTip(chart) {
    const { idx, left } = chart.cursor;
    tip.hidden = !isKnown(idx) || left < 0;
    if (tip.hidden) return;
    fillTip(tip, options, data, idx);
    tip.style.left = `${Math.min(left + TIP_OFFSET, node.clientWidth - tip.offsetWidth - 8)}px`;
  }

  function pickSelection(chart) {
    const { left, width } = chart.select;
    if (!options.pick || width < MIN_DRAG_PIXELS) return;
    const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    options.pick(from, to);
  }

  function draw() {
    plot?.destroy();
    plot = null;
    // A hidden view has no width; the observer draws when it is shown.
    if (!data || !node.clientWidth) return;
    const hooks = { setCursor: [moveTip], setSelect: [pickSelection] };
    const settings = uplotSettings(node, options, () => data);
    plot = new uPlot({ ...settings, hooks }, data, node);
    node.append(tip);
  }

  function resize() {
    if (plot && node.clientWidth)
      plot.setSize({ width: node.clientWidth, height: node.clientHeight });
    else draw();
  }

  const fillOpenTable = options.table ? makeTable(node, options, () => data) : null;
  new ResizeObserver(resize).observe(node);
  // Colours are read when a chart is drawn.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    // Changes options, for the next data that are set with series.
    change(changes) {
      Object.assign(options, changes);
    },
    set(newData, series) {
      data = newData;
      if (series) options.series = series;
      // A live chart's table would move under who reads it.
      if (series) fillOpenTable?.();
      if (series || !plot) draw();
      else plot.setData(data);
    },
  };
}

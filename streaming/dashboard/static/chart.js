// One way to draw figures over time, on uPlot: areas, bars and lines, with what is under the pointer.
import { make } from "./format.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// `series` are { label, color, kind: area|bars|line, scale?, show } with `show(value)` for people;
// `x(second)` names a place on the axis, `left` and `right` write axis values, `pick(from, to)` is
// told what was chosen by dragging (epoch seconds).
export function makeChart(node, { series, x, left, right, pick, zone }) {
  let plot = null,
    data = null;
  const tip = make("div", undefined, "tip");
  tip.hidden = true;

  function drawn(one) {
    const stroke = color(one.color);
    const shape = { label: one.label, stroke, scale: one.scale ?? "y", points: { show: false } };
    if (one.kind === "bars")
      return {
        ...shape,
        fill: stroke,
        width: 0,
        paths: uPlot.paths.bars({ size: [0.72, 40], radius: 0.15 }),
      };
    if (one.kind === "area") return { ...shape, width: 2, fill: `${stroke}24` };
    return { ...shape, width: 1.5, dash: [4, 3] };
  }

  // Both scales have zero at the same height, also when one goes below.
  function bounds(scale) {
    // What is not known yet is null.
    const of = (name) =>
      series
        .flatMap((one, i) => ((one.scale ?? "y") === name ? data[i + 1] : []))
        .filter((v) => v !== null);
    const below = Math.max(
      0,
      ...["y", "rate"].map((name) => {
        const all = of(name);
        const most = Math.max(1e-9, ...all);
        return -Math.min(0, ...all) / most;
      }),
    );
    const most = Math.max(1e-9, ...of(scale)) * 1.08 || 1;
    return [-Math.min(below, 1) * most, most > 1e-6 ? most : 1];
  }

  function point(chart) {
    const index = chart.cursor.idx;
    if (index === null || index === undefined || chart.cursor.left < 0) {
      tip.hidden = true;
      return;
    }
    tip.hidden = false;
    tip.replaceChildren(
      make("strong", x(data[0][index], true)),
      ...series.map((one, i) =>
        data[i + 1][index] === null || data[i + 1][index] === undefined
          ? ""
          : make(
              "span",
              `${one.label}: ${one.show(one.raw ? one.raw[index] : data[i + 1][index])}`,
            ),
      ),
    );
    tip.style.left = `${Math.min(chart.cursor.left + 66, node.clientWidth - tip.offsetWidth - 8)}px`;
  }

  function draw() {
    plot?.destroy();
    plot = null;
    if (!data || !node.clientWidth) return;
    const axis = {
      stroke: color("--soft"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui",
    };
    const bars = series.some((one) => one.kind === "bars");
    const axes = [
      { ...axis, grid: { show: false }, size: 30, values: (_, ticks) => ticks.map((t) => x(t)) },
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
    plot = new uPlot(
      {
        width: node.clientWidth,
        height: node.clientHeight,
        legend: { show: false },
        axes,
        tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), zone()),
        cursor: {
          y: false,
          drag: { x: Boolean(pick), y: false, setScale: false },
          points: { show: false },
        },
        scales: {
          x: {
            range: (_, from, to) => {
              const half = bars ? (data[0][1] - data[0][0]) / 2 || 43200 : 0;
              return [from - half, to + half];
            },
          },
          y: { range: () => bounds("y") },
          rate: { range: () => bounds("rate") },
        },
        series: [{}, ...series.map(drawn)],
        hooks: {
          setCursor: [point],
          setSelect: [
            (chart) => {
              if (!pick || chart.select.width < 6) return;
              const ends = [
                chart.posToVal(chart.select.left, "x"),
                chart.posToVal(chart.select.left + chart.select.width, "x"),
              ];
              chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              pick(...ends);
            },
          ],
        },
      },
      data,
      node,
    );
    node.append(tip);
  }

  new ResizeObserver(() => {
    if (plot && node.clientWidth)
      plot.setSize({ width: node.clientWidth, height: node.clientHeight });
    else draw();
  }).observe(node);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    set(next, nextSeries) {
      const anew = nextSeries !== undefined || !plot;
      data = next;
      if (nextSeries) series = nextSeries;
      if (anew) draw();
      else plot.setData(next);
    },
  };
}

// A figure over time without axes, as a line beside the figure itself.
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [120, 32, 2];

// Draws values, oldest first, into a node; nothing if there are too few for a line.
export function drawSparkline(node, values) {
  const highest = Math.max(...values, 0),
    lowest = Math.min(...values, 0);
  if (values.length < 2 || highest === lowest) {
    node.replaceChildren();
    return;
  }
  const x = (i) => ((i / (values.length - 1)) * WIDTH).toFixed(1),
    y = (value) =>
      (HEIGHT - MARGIN - ((value - lowest) / (highest - lowest)) * (HEIGHT - 2 * MARGIN)).toFixed(1);
  const points = values.map((value, i) => `${x(i)} ${y(value)}`).join("L");
  if (!node.firstChild) node.append(makeSvg());
  const [area, line] = node.firstChild.children;
  line.setAttribute("d", `M${points}`);
  area.setAttribute("d", `M${points}V${HEIGHT}H0Z`);
}

function makeSvg() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  for (const name of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

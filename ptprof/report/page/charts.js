"use strict";
// Draws figures as SVG at the width that there is, so that letters keep their size on a phone.
const SVG = "http://www.w3.org/2000/svg";
// As in ptprof/plots.py: told apart in grey by dashes and markers.
const DASHES = ["", "8 4", "10 3 2 3", "2 3", "6 2 1 2 1 2", "14 4", "4 2", "14 2 2 4"];
const MARKERS = [
  (r) => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
  (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0,${-1.2 * r}L${1.1 * r},${r}H${-1.1 * r}Z`,
  (r) => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0Z`,
  (r) => `M0,${1.2 * r}L${1.1 * r},${-r}H${-1.1 * r}Z`,
  (r) => `M${-1.2 * r},0L${r},${-1.1 * r}V${1.1 * r}Z`,
  (r) => `M${1.2 * r},0L${-r},${-1.1 * r}V${1.1 * r}Z`,
  (r) => `M${-0.4 * r},${-1.2 * r}h${0.8 * r}v${0.8 * r}h${0.8 * r}v${0.8 * r}h${-0.8 * r}v${0.8 * r}h${-0.8 * r}v${-0.8 * r}h${-0.8 * r}v${-0.8 * r}h${0.8 * r}Z`,
];
const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const LONGEST_NAME = 16;
const UNIT_PREFIXES = ["p", "n", "µ", "m", "", "k", "M", "G", "T"];

function element(parent, name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function power(exponent) {
  return (exponent < 0 ? "⁻" : "") + [...String(Math.abs(exponent))].map((d) => DIGITS[d]).join("");
}

/** A tick with its unit where it has one, 50 mg; otherwise plain, or as a power of ten. */
function tickText(value, axis) {
  if (value === 0) return "0";
  if (axis.unit) {
    const thousands = Math.min(Math.max(Math.floor((Math.log10(Math.abs(value)) + 1e-9) / 3), -4), 4);
    return `${Number((value / 1000 ** thousands).toPrecision(3))} ${UNIT_PREFIXES[thousands + 4]}${axis.unit}`;
  }
  const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-9);
  if (Math.abs(exponent) < 4) return String(Number(value.toPrecision(3)));
  const mantissa = Number((value / 10 ** exponent).toPrecision(2));
  return (mantissa === 1 ? "" : `${mantissa}×`) + `10${power(exponent)}`;
}

function ticksOf(low, high, log, most) {
  if (!log) {
    const raw = (high - low) / most;
    const magnitude = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * magnitude).find((s) => s >= raw * 0.999);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9) + 1e-300; i += 1) ticks.push(i * step);
    return ticks;
  }
  if (high - low < 1) return ticksOf(10 ** low, 10 ** high, false, most);
  const [first, last] = [Math.ceil(low - 1e-9), Math.floor(high + 1e-9)];
  const every = Math.max(1, Math.ceil((last - first + 1) / most));
  const decades = [];
  for (let e = first; e <= last; e += every) decades.push(10 ** e);
  if (decades.length >= 3) return decades;
  const within = high - low > 1.2 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let e = Math.floor(low) - 1; e <= high; e += 1) {
    for (const m of within) if (Math.log10(m * 10 ** e) >= low && Math.log10(m * 10 ** e) <= high) ticks.push(m * 10 ** e);
  }
  return ticks;
}

function scaleOf(axis, values, from, to, margin) {
  const log = Boolean(axis.log);
  const bounds = [axis.least ?? -Infinity, axis.most ?? Infinity];
  const finite = values.filter((v) => v !== null && Number.isFinite(v) && (!log || v > 0))
    .map((v) => Math.min(Math.max(v, bounds[0]), bounds[1])).map((v) => (log ? Math.log10(v) : v));
  let [low, high] = [Math.min(...finite), Math.max(...finite)];
  if (!finite.length) [low, high] = [0, 1];
  const space = margin * (high - low || (log ? 0.3 : Math.abs(high) || 1));
  low -= space; high += space;
  if (axis.zero) low = 0;
  const at = (value) => from + ((log ? Math.log10(Math.max(value, 1e-300)) : value) - low) / (high - low) * (to - from);
  return { at, low, high, log, clamp: (value) => Math.min(Math.max(at(value), Math.min(from, to)), Math.max(from, to)) };
}

const figuresOf = (chart, axis) => chart.series.flatMap((s) => s.points.flatMap((p) => p[axis] || []));

function marker(parent, style, x, y, radius = 5) {
  const shape = MARKERS[Math.max(style, 0) % MARKERS.length](radius);
  return element(parent, "path", { d: shape, transform: `translate(${x} ${y})`, fill: colour(style) });
}

function colour(style) { return style < 0 ? "var(--grey)" : `var(--s${style % 8})`; }

/** A tick's text under the horizontal axis, pushed back where it would leave the frame. */
function below(svg, x, box, text) {
  const half = 3.6 * text.length;
  element(svg, "text", { x: Math.min(x, box.right + 12 - half), y: box.bottom + 17, "text-anchor": "middle" }, text);
}

function axes(svg, chart, x, y, box) {
  for (const value of ticksOf(y.low, y.high, y.log, 6)) {
    element(svg, "line", { class: "rule", x1: box.left, x2: box.right, y1: y.at(value), y2: y.at(value) });
    element(svg, "text", { x: box.left - 6, y: y.at(value) + 4, "text-anchor": "end" }, tickText(value, chart.y));
  }
  for (const value of ticksOf(x.low, x.high, x.log, Math.max(3, (box.right - box.left) / 75))) {
    element(svg, "line", { class: "rule", y1: box.top, y2: box.bottom, x1: x.at(value), x2: x.at(value) });
    below(svg, x.at(value), box, tickText(value, chart.x));
  }
  element(svg, "path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}H${box.right}` });
  element(svg, "text", { x: box.left, y: 12 }, chart.y.label);
  element(svg, "text", { x: box.right, y: box.bottom + 36, "text-anchor": "end" }, chart.x.label);
}

function drawLine(svg, series, x, y) {
  const group = element(svg, "g", { class: series.style < 0 ? "reference" : "" });
  const places = series.points.map((p) => [x.at(p.x[0]), y.clamp(p.y[0])]);
  const inside = series.points.every((p) => p.y[1] !== null && p.y[2] !== null);
  if (inside) {
    const upper = series.points.map((p) => `${x.at(p.x[0]).toFixed(1)},${y.clamp(p.y[2]).toFixed(1)}`);
    const lower = series.points.map((p) => `${x.at(p.x[0]).toFixed(1)},${y.clamp(p.y[1]).toFixed(1)}`).reverse();
    element(group, "path", { class: "band", d: `M${upper.concat(lower).join("L")}Z`, fill: colour(series.style) });
  }
  const dash = series.style < 0 ? "" : DASHES[series.style % DASHES.length];
  element(group, "path", { class: "line", d: `M${places.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`, stroke: colour(series.style), "stroke-dasharray": dash });
  if (series.style < 0) return;
  const every = Math.max(1, Math.round(places.length / 5));
  for (let i = Math.min(places.length - 1, (every >> 1) + series.style % 3); i < places.length; i += every) marker(group, series.style, ...places[i], 4);
}

function drawPoint(svg, series, point, x, y) {
  const [a, b] = [x.at(point.x[0]), y.at(point.y[0])];
  const group = element(svg, "g", { class: point.off ? "off" : "" });
  if (point.x[1] !== null) element(group, "path", { class: "error", d: `M${x.clamp(point.x[1])},${b}H${x.clamp(point.x[2])}` });
  if (point.y[1] !== null) element(group, "path", { class: "error", d: `M${a},${y.clamp(point.y[1])}V${y.clamp(point.y[2])}` });
  const made = marker(group, series.style, a, b, 6);
  element(made, "title", {}, [series.name, point.note].filter(Boolean).join(", "));
}

function drawBars(svg, chart, width) {
  const names = chart.series.map((s) => (s.name.length > LONGEST_NAME ? `${s.name.slice(0, LONGEST_NAME - 1)}…` : s.name));
  const [left, row] = [14 + 7.2 * Math.max(...names.map((name) => name.length)), 30];
  const box = { left, right: width - 12, top: 22, bottom: 22 + row * chart.series.length };
  const x = scaleOf({ zero: true }, figuresOf(chart, "y"), box.left, box.right, 0.05);
  svg.setAttribute("viewBox", `0 0 ${width} ${box.bottom + 24}`);
  for (const value of ticksOf(x.low, x.high, false, Math.max(3, (box.right - box.left) / 80))) {
    element(svg, "line", { class: "rule", x1: x.at(value), x2: x.at(value), y1: box.top, y2: box.bottom });
    below(svg, x.at(value), box, tickText(value, chart.y));
  }
  element(svg, "text", { x: box.left, y: 12 }, chart.y.label);
  chart.series.forEach((series, i) => {
    const [value, low, high] = series.points[0].y;
    const middle = box.top + row * (i + 0.5);
    element(svg, "text", { x: box.left - 8, y: middle + 4, "text-anchor": "end" }, names[i]);
    element(svg, "rect", { class: "bar", x: box.left, y: middle - 9, width: Math.max(0, x.at(value) - box.left), height: 18, fill: colour(series.style) });
    if (low !== null) element(svg, "path", { class: "error", d: `M${x.clamp(low)},${middle}H${x.at(high)}M${x.clamp(low)},${middle - 5}v10M${x.at(high)},${middle - 5}v10` });
  });
  element(svg, "path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}` });
}

function draw(svg, chart, cursor = null) {
  const width = Math.max(280, Math.round(svg.parentElement.clientWidth));
  svg.replaceChildren();
  if (chart.kind === "bars") { drawBars(svg, chart, width); return; }
  const height = Math.round(Math.min(440, Math.max(260, width * 0.55)));
  const box = { left: 58, right: width - 14, top: 22, bottom: height - 42 };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const points = chart.kind === "points";
  // A band that reaches zero has no end on a logarithmic axis: the lines set its range.
  const heights = chart.y.log && !points ? chart.series.flatMap((s) => s.points.flatMap((p) => [p.y[0], p.y[2]])) : figuresOf(chart, "y");
  const x = scaleOf(chart.x, figuresOf(chart, "x"), box.left, box.right, points ? 0.06 : 0);
  const y = scaleOf(chart.y, heights, box.bottom, box.top, points ? 0.08 : 0.03);
  axes(svg, chart, x, y, box);
  for (const series of chart.series) {
    if (points) series.points.forEach((point) => drawPoint(svg, series, point, x, y));
    else drawLine(svg, series, x, y);
  }
  for (const mark of chart.marks) {
    const made = element(svg, "circle", { class: mark.sure ? "mark sure" : "mark", cx: x.at(mark.x), cy: y.at(mark.y), r: 3.5 });
    if (mark.x < 10 ** x.low || mark.x > 10 ** x.high) made.remove();
    else element(made, "title", {}, mark.label);
  }
  if (cursor !== null && Math.log10(cursor) >= x.low && Math.log10(cursor) <= x.high) {
    element(svg, "line", { class: "cursor", x1: x.at(cursor), x2: x.at(cursor), y1: box.top, y2: box.bottom });
  }
}

function legend(list, chart) {
  list.replaceChildren();
  if (chart.kind === "bars") return;
  for (const series of chart.series) {
    const item = document.createElement("li");
    const sample = element(item, "svg", { viewBox: "0 0 40 14", "aria-hidden": "true" });
    if (chart.kind === "lines") {
      const group = element(sample, "g", { class: series.style < 0 ? "reference" : "" });
      const dash = series.style < 0 ? "" : DASHES[series.style % DASHES.length];
      element(group, "path", { class: "line", d: "M1,7H39", stroke: colour(series.style), "stroke-dasharray": dash });
    }
    if (series.style >= 0) marker(sample, series.style, 20, 7, 4);
    item.append(series.name);
    list.append(item);
  }
}

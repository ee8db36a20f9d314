"use strict";
// The answer at any number of queries, by the same lines and errors as ptprof/amortise/breakeven.py.
const page = JSON.parse(document.getElementById("data").textContent);
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const PREFIXES = { "-4": "p", "-3": "n", "-2": "µ", "-1": "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T" };
const MOST_QUERIES = 1e18;

const exponentOf = (value, digits) => Number(Math.abs(value).toExponential(digits - 1).split("e")[1]);
const raised = (n) => (n < 0 ? "⁻" : "") + [...String(Math.abs(n))].map((d) => SUPERSCRIPTS[d]).join("");

/** As ptprof/report/format.py's `count`: 10⁶, 1.415×10⁶; below ten thousand plain. */
function count(value) {
  if (value < 10000) return value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(4)));
  const exponent = exponentOf(value, 4);
  let mantissa = (value / 10 ** exponent).toFixed(3);
  if (Math.abs(Number(mantissa) - value / 10 ** exponent) <= 1e-12 * Number(mantissa)) mantissa = mantissa.replace(/\.?0+$/, "");
  return mantissa === "1" ? `10${raised(exponent)}` : `${mantissa}×10${raised(exponent)}`;
}

const queriesOf = (n) => `${count(n)} ${count(n) === "1" ? "query" : "queries"}`;

/** As `prefixed`: 2.47 kg, or 2.47 ± 0.50 kg. */
function grams(value, half = null) {
  const power = value === 0 ? 0 : Math.min(Math.max(Math.floor(exponentOf(value, 3) / 3), -4), 4);
  const scaled = value / 1000 ** power;
  const decimals = scaled === 0 ? 0 : Math.max(0, 2 - exponentOf(scaled, 3));
  if (half === null) return `${value === 0 ? "0" : Number(scaled.toPrecision(3)).toFixed(decimals)} ${PREFIXES[power]}g`;
  let width = (half / 1000 ** power).toFixed(decimals);
  if (half > 0 && Number(width) === 0) width = `<${(10 ** -decimals).toFixed(decimals)}`;
  return `${scaled.toFixed(decimals)} ± ${width} ${PREFIXES[power]}g`;
}

function listed(names) {
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
}

/** How often a model is trained for so many queries. */
const trainings = (line, n) => (line.retrain_every === null ? 1 : Math.max(1, Math.ceil(n / line.retrain_every)));
const totalOf = (line, n) => line.once_g + trainings(line, n) * line.training_g + n * line.per_query_g;
const halfOf = (line, n) => (line.errors === null ? null : Math.hypot(...line.errors.map(([once, training, query]) => once + trainings(line, n) * training + n * query)));

/** Which model has the smallest total, and which others cannot be told from it. */
function cheapest(n) {
  const totals = page.models.map((line) => totalOf(line, n));
  const best = totals.indexOf(Math.min(...totals));
  const tied = page.models.map((_, i) => i).filter((i) => i !== best && Math.abs(gap(i, best, n).value) <= gap(i, best, n).half);
  return { totals, best, tied };
}

/** What i costs more than j, and the half-width of that, without the errors that the two share. */
function gap(i, j, n) {
  const pair = page.differences[Math.min(i, j)][Math.max(i, j) - Math.min(i, j) - 1];
  return { value: (i < j ? 1 : -1) * totalOf(pair, n), half: halfOf(pair, n) ?? 0 };
}

/** Whether i is surely cheaper than j, and surely as accurate: as ptprof/amortise/pareto.py. */
function dominates(i, j, n) {
  const difference = gap(i, j, n);
  if (difference.value >= 0 || -difference.value <= difference.half) return false;
  const [[value, , high], [rival, low]] = [page.models[i].error, page.models[j].error];
  return high === null && low === null ? value <= rival : (high ?? value) < (low ?? rival);
}

/** Those that no other one dominates. */
function front(n) {
  const known = page.models.map((_, i) => i).filter((i) => page.models[i].error !== null);
  return known.filter((j) => !known.some((i) => i !== j && dominates(i, j, n)));
}

function sentence(n, { totals, best, tied }) {
  const name = page.models[best].name;
  if (page.models.length === 1) return `Only ${name} is known: there is nothing to compare it with.`;
  const begin = `At ${queriesOf(n)} ${name} has the smallest total, ${grams(totals[best])}`;
  return tied.length ? `${begin}, but ${listed(tied.map((i) => page.models[i].name))} cannot be told apart from it.` : `${begin}.`;
}

function cell(row, text, name = "td", className = "") {
  const made = row.appendChild(document.createElement(name));
  made.textContent = text;
  if (className) made.className = className;
  if (name === "th") made.scope = "row";
}

function fill(n, { totals, best, tied }) {
  const body = document.querySelector("#totals-now tbody");
  body.replaceChildren();
  page.models.forEach((line, i) => {
    const row = body.appendChild(document.createElement("tr"));
    if (i === best) row.className = "best";
    cell(row, line.name, "th", "text");
    cell(row, i === best ? "smallest" : tied.includes(i) ? "not told apart" : "", "td", "text short");
    cell(row, grams(totals[i], halfOf(line, n)));
    cell(row, grams(totals[i] / n));
    cell(row, `${(totals[i] / totals[best]).toFixed(2)} ×`);
  });
}

/** The chart of error against carbon at so many queries; what is dominated is faint. */
function moveFront(n, totals) {
  const chart = page.charts["error-against-carbon"];
  if (!chart) return;
  const kept = front(n);
  for (const series of chart.series) {
    const i = page.models.findIndex((line) => line.name === series.name);
    const half = halfOf(page.models[i], n);
    series.points[0].x = half === null ? [totals[i], null, null] : [totals[i], Math.max(totals[i] - half, 0), totals[i] + half];
    series.points[0].note = queriesOf(n);
    series.points[0].off = !kept.includes(i);
  }
  const names = kept.map((i) => page.models[i].name);
  const text = `At ${queriesOf(n)} no other model is surely cheaper and as accurate: ${listed(names)}.`;
  document.getElementById("front").textContent = text;
  document.getElementById("front").dataset.front = JSON.stringify(names);
}

let queries = null;

function redraw(names) {
  for (const name of names) {
    const holder = document.getElementById(`chart-${name}`);
    if (!holder) continue;
    draw(holder.querySelector("svg"), page.charts[name], page.charts[name].x?.column === "queries" ? queries : null);
  }
}

function show(n, except = null) {
  queries = n;
  const found = cheapest(n);
  const answer = document.getElementById("answer-now");
  answer.textContent = sentence(n, found);
  answer.dataset.queries = String(n);
  answer.dataset.cheapest = page.models[found.best].name;
  answer.dataset.tied = JSON.stringify(found.tied.map((i) => page.models[i].name));
  const [slider, box] = [document.getElementById("queries"), document.getElementById("queries-exact")];
  if (except !== slider) slider.value = String(Math.log10(n));
  slider.setAttribute("aria-valuetext", queriesOf(n));
  if (except !== box) box.value = n < 1e5 ? String(Math.round(n)) : n.toExponential(2).replace(/\.?0+e\+?/, "e");
  box.removeAttribute("aria-invalid");
  fill(n, found);
  moveFront(n, found.totals);
  redraw(["cost-against-queries", "times-the-cheapest", "error-against-carbon"]);
}

for (const [name, chart] of Object.entries(page.charts)) {
  const holder = document.getElementById(`chart-${name}`);
  if (holder) legend(holder.querySelector(".legend"), chart);
}
if (page.models.length) {
  const [slider, box] = [document.getElementById("queries"), document.getElementById("queries-exact")];
  slider.addEventListener("input", () => show(10 ** Number(slider.value), slider));
  box.addEventListener("change", () => {
    const n = Number(box.value.replace(/[_\s,]/g, ""));
    if (n >= 1 && n <= MOST_QUERIES) show(n, box);
    else box.setAttribute("aria-invalid", "true");
  });
  show(page.queries);
}
const all = Object.keys(page.charts);
redraw(all);
let width = document.documentElement.clientWidth;
window.addEventListener("resize", () => {
  if (document.documentElement.clientWidth === width) return;
  width = document.documentElement.clientWidth;
  redraw(all);
});
// Paper has a width of its own, and what is folded away on a screen is of use there.
window.addEventListener("beforeprint", () => redraw(all));
window.addEventListener("afterprint", () => redraw(all));

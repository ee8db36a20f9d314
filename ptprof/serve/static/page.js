// A rollout from a test trajectory, drawn while it is computed. Nothing is loaded from elsewhere.

const $ = (id) => document.getElementById(id);
const MAX_QUERY_PAIRS = 12;

const rollout = { frames: [], truth: [], fields: [], grid: [0, 0], low: 0, high: 1, abort: null, playing: 0 };

// --- the server -----------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if ($("token").value) headers.Authorization = `Bearer ${$("token").value}`;
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401) $("token-label").hidden = false;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `the server answered ${response.status}`);
}

const askJson = async (path, options) => (await ask(path, options)).json();

// The frames of a streamed rollout: each a line of JSON, then the bytes of the tensors that it describes.
async function* framesOf(response) {
  const reader = response.body.getReader();
  let rest = new Uint8Array(0);
  const more = async () => {
    const { value, done } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
    return true;
  };
  try {
    for (;;) {
      let end;
      while ((end = rest.indexOf(10)) < 0) if (!(await more())) return;
      const said = JSON.parse(new TextDecoder().decode(rest.subarray(0, end)));
      rest = rest.subarray(end + 1);
      if (said.error) throw new Error(said.error);
      const tensors = {};
      for (const output of said.outputs) {
        const size = output.parameters.binary_data_size;
        while (rest.length < size) if (!(await more())) throw new Error("the rollout broke off");
        // A copy begins where floats may begin.
        tensors[output.name] = new Float32Array(rest.slice(0, size).buffer);
        rest = rest.subarray(size);
      }
      yield { parameters: said.parameters, tensors };
      if (said.parameters.final) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// --- what is there --------------------------------------------------------------------------------------

async function describe(name) {
  const config = await askJson(`/v2/models/${encodeURIComponent(name)}/config`);
  const text = (key) => config.parameters[key]?.string_value ?? "";
  return {
    name,
    shape: config.input[0].dims,
    fields: text("fields").split(", ").filter(Boolean),
    run: text("run"),
    runs: `${text("runtime")} on ${text("device")}`,
  };
}

async function showModels() {
  const index = await askJson("/v2/repository/index", { method: "POST" });
  const ready = index.filter((model) => model.state === "READY");
  const models = await Promise.all(ready.map((model) => describe(model.name)));
  const chosen = $("model").value;
  $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
  if (models.some((model) => model.name === chosen)) $("model").value = chosen;
  rows($("models"), [
    ["Model", "State", "Run"],
    ...index.map((entry) => {
      const model = models.find((m) => m.name === entry.name);
      return [entry.name, entry.state.toLowerCase(), model ? `${model.run} (${model.runs})` : entry.reason];
    }),
  ]);
  return models;
}

async function showCosts() {
  const overview = await askJson("/page/overview");
  $("trajectory").max = Math.max(overview.trajectories - 1, 0);
  const served = overview.served;
  pairs($("served"), [
    ["Requests", served.requests],
    ["Forecast steps", served.steps],
    ["Energy", `${figure(served.energy_j)} J`],
    ["Emissions", `${figure(served.co2eq_g)} gCO₂eq`],
  ]);
  const amortised = overview.amortised;
  if (amortised.missing) {
    $("cheapest").textContent = `Not known: ${amortised.missing}`;
    $("break-even").replaceChildren();
    return overview;
  }
  const cheapest = amortised.cheapest[0];
  const tied = cheapest.tied_with.length ? `, not told from ${cheapest.tied_with.join(", ")}` : "";
  $("cheapest").textContent =
    `Training and ${figure(cheapest.queries)} one-step queries together: ${cheapest.model} is cheapest${tied}.`;
  const crossing = amortised.break_even.filter((pair) => pair.queries !== null);
  rows($("break-even"), [
    ["Pair", "Queries", "Cheaper below"],
    ...crossing
      .slice(0, MAX_QUERY_PAIRS)
      .map((pair) => [`${pair.a} and ${pair.b}`, figure(pair.queries), pair.cheaper_below ?? pair.verdict]),
  ]);
  return overview;
}

// --- drawing --------------------------------------------------------------------------------------------

// A diverging scale: blue, white, red; written down as its ends.
function colour(value) {
  const t = Math.max(0, Math.min(1, value)) * 2 - 1;
  const a = Math.abs(t);
  const end = t < 0 ? [33, 102, 172] : [178, 24, 43];
  return end.map((c) => Math.round(247 + (c - 247) * a));
}

const COLOURS = Array.from({ length: 256 }, (_, i) => colour(i / 255));

function draw(canvas, state) {
  const [X, Y] = rollout.grid;
  // x to the right where the grid is wider, y upwards.
  canvas.width = Y >= X ? Y : X;
  canvas.height = Y >= X ? X : Y;
  canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  const context = canvas.getContext("2d");
  if (!state) return;
  const image = context.createImageData(canvas.width, canvas.height);
  const offset = $("field").selectedIndex * X * Y;
  const span = rollout.high - rollout.low || 1;
  for (let i = 0; i < X * Y; i++) {
    const value = (state[offset + i] - rollout.low) / span;
    const [r, g, b] = Number.isFinite(value) ? COLOURS[Math.max(0, Math.min(255, Math.round(value * 255)))] : [0, 0, 0];
    const x = Math.floor(i / Y), y = i % Y;
    const pixel = Y >= X ? i : (Y - 1 - y) * X + x;
    image.data.set([r, g, b, 255], pixel * 4);
  }
  context.putImageData(image, 0, 0);
}

// One scale for all times of a field, from what the simulation holds.
function setScale() {
  const [X, Y] = rollout.grid;
  const offset = $("field").selectedIndex * X * Y;
  let low = Infinity, high = -Infinity;
  for (const state of rollout.truth)
    for (let i = offset; i < offset + X * Y; i++) {
      if (state[i] < low) low = state[i];
      if (state[i] > high) high = state[i];
    }
  rollout.low = Number.isFinite(low) ? low : 0;
  rollout.high = Number.isFinite(high) ? high : 1;
  $("low").textContent = figure(rollout.low);
  $("high").textContent = figure(rollout.high);
  const context = $("bar").getContext("2d");
  COLOURS.forEach(([r, g, b], i) => {
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(i, 0, 1, 1);
  });
}

function show(step) {
  $("time").value = step;
  $("step").textContent = step;
  draw($("forecast"), rollout.frames[step]);
  draw($("truth"), rollout.truth[step]);
}

function play() {
  clearInterval(rollout.playing);
  let step = 0;
  rollout.playing = setInterval(() => {
    if (rollout.frames.length) show((step = (step + 1) % rollout.frames.length));
  }, 150);
}

// --- a rollout ------------------------------------------------------------------------------------------

function tell(text, error = false) {
  $("status").textContent = text;
  $("status").className = error ? "error" : "";
}

function request(model, steps, window) {
  const head = new TextEncoder().encode(JSON.stringify({
    inputs: [{
      name: "state",
      datatype: "FP32",
      shape: [1, ...model.shape],
      parameters: { binary_data_size: window.byteLength },
    }],
    parameters: { rollout_steps: steps, stream: true, binary_data_output: true },
  }));
  return { body: new Blob([head, window]), headers: { "Inference-Header-Content-Length": String(head.length) } };
}

function split(values, size) {
  return Array.from({ length: values.length / size }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

async function run(models) {
  const model = models.find((m) => m.name === $("model").value);
  const steps = Number($("steps").value);
  const [history, channels, X, Y] = model.shape;
  const size = channels * X * Y;
  clearInterval(rollout.playing);
  rollout.abort = new AbortController();
  rollout.grid = [X, Y];
  const { signal } = rollout.abort;
  const path = `/page/trajectories/${Number($("trajectory").value)}?states=${history + steps}`;
  const states = new Float32Array(await (await ask(path, { signal })).arrayBuffer());
  if (states.length < history * size) throw new Error("the test trajectory is shorter than the model's history");
  rollout.truth = split(states, size).slice(history - 1);
  rollout.frames = [rollout.truth[0]];
  setScale();
  const sent = request(model, steps, states.slice(0, history * size));
  const response = await ask(`/v2/models/${encodeURIComponent(model.name)}/infer`, { method: "POST", signal, ...sent });
  let last = {};
  for await (const { parameters, tensors } of framesOf(response)) {
    if (tensors.states) rollout.frames.push(tensors.states);
    last = parameters;
    $("time").max = rollout.frames.length - 1;
    show(rollout.frames.length - 1);
    showCost(parameters);
    tell(`${model.name}: step ${rollout.frames.length - 1} of ${steps}`);
  }
  if (!last.final) throw new Error("the rollout broke off");
  tell(`${model.name}: ${steps} steps done`);
  document.body.dataset.done = String(steps);
}

function showCost(parameters) {
  if (parameters.energy_missing) return pairs($("cost"), [["Energy", parameters.energy_missing]]);
  pairs($("cost"), [
    ["Energy", `${figure(parameters.energy_j)} J`],
    ["95 % interval", `${figure(parameters.energy_low_j)} to ${figure(parameters.energy_high_j)} J`],
    ["Emissions", `${figure(parameters.co2eq_g)} gCO₂eq`],
    ["Known by", `${parameters.energy_source} (${parameters.energy_components})`],
  ]);
}

// --- the page -------------------------------------------------------------------------------------------

function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}

function rows(table, lines) {
  table.replaceChildren(...lines.map((line, number) => {
    const row = document.createElement("tr");
    row.append(...line.map((text) => {
      const cell = document.createElement(number ? "td" : "th");
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

function pairs(list, lines) {
  list.replaceChildren(...lines.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

let models = [];

async function refresh() {
  models = await showModels();
  await showCosts();
  showFields();
}

function showFields() {
  const model = models.find((m) => m.name === $("model").value);
  if (!model) return;
  const chosen = $("field").selectedIndex;
  $("field").replaceChildren(...model.fields.map((name) => new Option(name.replace("_", " "), name)));
  $("field").selectedIndex = Math.max(0, Math.min(chosen, model.fields.length - 1));
}

$("model").addEventListener("change", showFields);
$("field").addEventListener("change", () => {
  setScale();
  show(Number($("time").value));
});
$("time").addEventListener("input", () => {
  clearInterval(rollout.playing);
  show(Number($("time").value));
});
$("token").addEventListener("change", () => refresh().then(() => tell(""), (error) => tell(error.message, true)));
$("stop").addEventListener("click", () => rollout.abort?.abort());
$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("run").disabled = true;
  $("stop").disabled = false;
  try {
    await run(models);
    play();
  } catch (error) {
    tell(error.name === "AbortError" ? "stopped" : error.message, error.name !== "AbortError");
  } finally {
    $("run").disabled = false;
    $("stop").disabled = true;
    showCosts().catch(() => {});
  }
});
refresh().catch((error) => tell(error.message, true));

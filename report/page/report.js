"use strict";

// The state of the page is in its address; every control changes that, then all is drawn.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUN_COLOURS = [
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#E69F00",
  "#56B4E9",
  "#AA4499",
  "#999933",
]; // Okabe and Ito, and two of Paul Tol
const GREYS = ["#777777", "#999999", "#B0B0B0"];
const MARKERS = [
  "circle",
  "square",
  "triangle-up",
  "diamond",
  "triangle-down",
  "cross",
  "x",
];
const DASHES = ["dash", "dot", "dashdot", "longdash"];
const byId = (id) => document.getElementById(id);
const images = new Map(DATA.images.map((image) => [image.name, image]));

// --- State ---------------------------------------------------------------------------

const DEFAULTS = {
  metric: DATA.metrics.length ? DATA.metrics[0].key : "psnr",
  log: "0",
  off: "",
  image: DATA.images.length ? DATA.images[0].name : "",
  rate: DATA.images.length ? String(DATA.images[0].rates.length >> 1) : "0",
  match: "bytes",
  left: DATA.viewed.length > 1 ? DATA.viewed[1] : "original",
  right: DATA.viewed.length ? DATA.viewed[0] : "original",
  mode: "slider",
  split: "0.5",
  x: "",
  y: "",
  zoom: "", // of the middle of the pane, in px of the picture; scale
};
let state = readState();
let flicker = ""; // "", "left", "right" or "original": what fills the pane alone

function readState() {
  const told = new URLSearchParams(location.hash.slice(1));
  const state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    if (told.has(name)) state[name] = told.get(name);
  }
  return checked(state);
}

/** Takes what there is not, such as an image of another page, back to what there is. */
function checked(state) {
  if (!DATA.metrics.some((metric) => metric.key === state.metric))
    state.metric = DEFAULTS.metric;
  if (!images.has(state.image)) state.image = DEFAULTS.image;
  const rates = images.size ? images.get(state.image).rates : [];
  if (!rates.some((_, index) => String(index) === state.rate)) state.rate = "0";
  if (!["bytes", "quality"].includes(state.match)) state.match = DEFAULTS.match;
  if (!["slider", "side", "error"].includes(state.mode)) state.mode = DEFAULTS.mode;
  for (const side of ["left", "right"]) {
    if (!choices().includes(state[side])) state[side] = DEFAULTS[side];
  }
  return state;
}

function choices() {
  return ["original", ...DATA.viewed];
}

// What is redrawn when these change; everything else is of the viewer.
const MOVES = ["x", "y", "zoom", "split"];
const OF_PLOTS = ["metric", "log", "off"];

function change(values) {
  checked(Object.assign(state, values));
  const changed = Object.entries(state).filter(
    ([name, value]) => value !== DEFAULTS[name],
  );
  history.replaceState(null, "", "#" + new URLSearchParams(changed));
  const names = Object.keys(values);
  if (names.every((name) => MOVES.includes(name))) place();
  else if (names.some((name) => OF_PLOTS.includes(name))) drawPlots();
  else drawViewer();
}

window.addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // a section of the page
  state = readState();
  draw();
});

// --- Curves --------------------------------------------------------------------------

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    back: of("--back"),
    text: of("--text"),
    line: of("--line"),
    panel: of("--panel"),
  };
}

const STYLES = new Map();
for (const curve of DATA.curves) {
  const isClassical = curve.kind === "jpeg";
  const index = DATA.curves
    .filter((c) => (c.kind === "jpeg") === isClassical)
    .indexOf(curve);
  STYLES.set(curve.label, {
    colour: isClassical
      ? GREYS[index % GREYS.length]
      : RUN_COLOURS[index % RUN_COLOURS.length],
    dash: isClassical ? DASHES[index % DASHES.length] : "solid",
    symbol: isClassical ? "circle" : MARKERS[index % MARKERS.length],
  });
}

function isOff(label) {
  return `|${state.off}|`.includes(`|${label}|`); // names may have such a sign
}

/** A name as Plotly draws it, which takes `<b>` and `%{x}` for its own marks. */
function plain(text) {
  const marks = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;" };
  return text.replace(/[&<>%]/g, (mark) => marks[mark]);
}

function layout(more) {
  const { back, text, line } = colours();
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
  return {
    paper_bgcolor: back,
    plot_bgcolor: back,
    font: { color: text },
    margin: { l: 60, r: 15, t: 10, b: 50 },
    hovermode: "closest",
    showlegend: false,
    ...more,
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis },
  };
}

const CONFIG = { responsive: true, displaylogo: false };

function drawCurves() {
  const metric = DATA.metrics.find((m) => m.key === state.metric);
  if (!metric) return;
  const traces = DATA.curves.map((curve) => {
    const style = STYLES.get(curve.label);
    return {
      x: curve.rates[metric.key],
      y: curve.values[metric.key],
      name: plain(curve.label),
      text: curve.rates[metric.key].map((_, i) => curve.settings[i] ?? ""),
      visible: !isOff(curve.label),
      mode: "lines+markers",
      line: { color: style.colour, dash: style.dash, width: 2 },
      marker: { color: style.colour, symbol: style.symbol, size: 7 },
      hovertemplate: `%{x:.3f} bpp, %{y:.3f}<br>%{text}<extra>${plain(curve.label)}</extra>`,
    };
  });
  const isLog = state.log === "1";
  const [low, high] = [DATA.bppRange[0] * 0.8, DATA.bppRange[1] * 1.15];
  const inside = traces
    .filter((trace) => trace.visible)
    .flatMap((trace) =>
      trace.y.filter((y, i) => y !== null && trace.x[i] >= low && trace.x[i] <= high),
    );
  const margin = inside.length ? 0.05 * (Math.max(...inside) - Math.min(...inside)) : 0;
  const range = inside.length
    ? [Math.min(...inside) - margin, Math.max(...inside) + margin]
    : undefined;
  Plotly.react(
    "plot",
    traces,
    layout({
      xaxis: {
        title: { text: "rate [bits per pixel]" },
        type: isLog ? "log" : "linear",
        range: isLog ? [Math.log10(low), Math.log10(high)] : [low, high],
      },
      yaxis: {
        title: { text: metric.label + (metric.smaller ? " (smaller is better)" : "") },
        range: range && metric.smaller ? range.reverse() : range,
      },
    }),
    CONFIG,
  );
}

function drawCodecs() {
  for (const box of byId("codecs").querySelectorAll("input"))
    box.checked = !isOff(box.value);
  for (const button of byId("metrics").children) {
    button.setAttribute("aria-checked", String(button.value === state.metric));
  }
  byId("log").checked = state.log === "1";
}

function buildCurves() {
  for (const metric of DATA.metrics) {
    const button = element(
      "button",
      { type: "button", value: metric.key, role: "radio" },
      metric.label,
    );
    button.addEventListener("click", () => change({ metric: metric.key }));
    byId("metrics").append(button);
  }
  byId("log").addEventListener("change", (event) =>
    change({ log: event.target.checked ? "1" : "0" }),
  );
  for (const curve of DATA.curves) {
    const box = element("input", { type: "checkbox", value: curve.label });
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = STYLES.get(curve.label).colour;
    byId("codecs").append(element("label", {}, box, swatch, curve.label));
    box.addEventListener("change", () => {
      const off = [...byId("codecs").querySelectorAll("input:not(:checked)")];
      change({ off: off.map((other) => other.value).join("|") });
    });
  }
}

// --- Images at equal quality ---------------------------------------------------------

function drawScatter() {
  const metric = DATA.metrics.find((m) => m.key === state.metric);
  const found = metric && DATA.scatter[metric.key];
  byId("images").hidden = !found;
  if (!found) return;
  byId("level").textContent =
    `Kilobytes of every image at ${metric.label} ` +
    `${found.level.toFixed(found.level < 1 ? 3 : 1)}, interpolated between its files. Below the line ` +
    `ours, ${DATA.ours}, is smaller. A click shows the image, where it is in the viewer.`;
  const ours = found.kilobytes[DATA.ours];
  const others = Object.keys(found.kilobytes).filter(
    (label) => label !== DATA.ours && !isOff(label),
  );
  const all = Object.values(found.kilobytes)
    .flat()
    .filter((size) => size);
  const ends = [Math.min(...all) * 0.9, Math.max(...all) * 1.1];
  const traces = others.map((label, index) => ({
    x: found.kilobytes[label],
    y: ours,
    text: found.images.map(plain),
    customdata: found.images,
    meta: label,
    name: plain(label),
    mode: "markers",
    marker: {
      color: STYLES.get(label).colour,
      symbol: MARKERS[index % MARKERS.length],
      size: 9,
    },
    hovertemplate: `%{text}: %{y:.1f} kB instead of %{x:.1f} kB<extra>${plain(label)}</extra>`,
  }));
  traces.push({
    x: ends,
    y: ends,
    mode: "lines",
    hoverinfo: "skip",
    showlegend: false,
    line: { color: colours().text, width: 1 },
  });
  const range = ends.map(Math.log10);
  Plotly.react(
    "scatter",
    traces,
    layout({
      showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "the others [kB]" }, type: "log", range },
      yaxis: { title: { text: "ours [kB]" }, type: "log", range },
    }),
    CONFIG,
  );
  byId("scatter").removeAllListeners("plotly_click");
  byId("scatter").on("plotly_click", (event) => {
    const { customdata: image, data } = event.points[0];
    if (images.has(image)) showImage(image, data.meta);
  });
}

function showImage(image, codec) {
  const other =
    DATA.viewed.includes(codec) && codec !== DATA.ours ? { left: codec } : {};
  change({ image, ...other, x: "", y: "", zoom: "" });
  byId("viewer").scrollIntoView();
}

// --- Viewer --------------------------------------------------------------------------

function entries() {
  return images.get(state.image).rates[state.rate][state.match];
}

/** A picture of the stage: its address, a caption, an alternative text. */
function pictureOf(codec) {
  const image = images.get(state.image);
  if (codec === "original") {
    return {
      source: DATA.files[image.original],
      caption: "original",
      alt: `${image.name}, original`,
    };
  }
  const entry = entries()[codec];
  const ours = entries()[DATA.viewed[0]];
  const bpp = (8 * entry.bytes) / (image.width * image.height);
  const change = Math.round(100 * (entry.bytes / ours.bytes - 1));
  const parts = [`${codec}, ${entry.setting}`, `${entry.bytes} bytes`];
  if (change) parts.push(`${change > 0 ? "+" : "\u2212"}${Math.abs(change)} %`);
  parts.push(`${bpp.toFixed(3)} bpp`);
  for (const { key, name, unit, decimals } of DATA.captions) {
    if (entry[key] === undefined) continue; // not finite
    parts.push(`${name} ${entry[key].toFixed(decimals)}${unit && " " + unit}`);
  }
  return {
    source: DATA.files[entry.file],
    caption: parts.join(", "),
    alt: `${image.name}, ${codec}, ${entry.bytes} bytes`,
  };
}

function drawViewer() {
  if (!images.size) {
    byId("viewer-content").replaceChildren(
      element("p", {}, "There are no pictures to show."),
    );
    return;
  }
  drawControls();
  byId("stage").replaceChildren(...figures());
  place();
  drawExtras();
}

function figures() {
  if (state.mode === "side") {
    return ["original", state.left, state.right].map((codec) => figure([codec]));
  }
  if (state.mode === "error") {
    return [state.left, state.right].map((codec) =>
      figure(["original", codec], "error"),
    );
  }
  return [sliderFigure()];
}

/** A pane with pictures on top of each other. */
function figure(codecs, kind = "") {
  const pictures = codecs.map(pictureOf);
  const layers = pictures.map((picture) =>
    element("img", { src: picture.source, alt: picture.alt, draggable: "false" }),
  );
  const pane = element(
    "div",
    { class: `pane ${kind}` },
    element("div", { class: "picture" }, ...layers),
  );
  const { caption } = pictures[pictures.length - 1];
  return element(
    "figure",
    {},
    pane,
    element("figcaption", {}, kind === "error" ? `error of ${caption}` : caption),
  );
}

/** Left, right and original on top of each other; `place` says how much is seen. */
function sliderFigure() {
  const found = figure([state.left, state.right, "original"]);
  const pane = found.querySelector(".pane");
  const divider = element("div", {
    class: "divider",
    role: "slider",
    tabindex: "0",
    "aria-label": "Divider",
    "aria-valuemin": "0",
    "aria-valuemax": "100",
    "aria-valuenow": String(Math.round(100 * state.split)),
  });
  pane.append(
    element("span", { class: "tag left" }, state.left),
    element("span", { class: "tag right" }, state.right),
    divider,
  );
  return found;
}

function panes() {
  // Without pictures there is no stage.
  return [...(byId("stage")?.querySelectorAll(".pane") ?? [])];
}

/** Middle and scale; those of the whole picture unless they were chosen. */
function view() {
  const image = images.get(state.image);
  const pane = panes()[0].getBoundingClientRect();
  const whole = Math.min(pane.width / image.width, pane.height / image.height);
  const number = (text, other) =>
    text === "" || !isFinite(text) ? other : Number(text);
  return {
    x: number(state.x, image.width / 2),
    y: number(state.y, image.height / 2),
    zoom: Math.min(Math.max(number(state.zoom, whole), 0.05), 64),
    whole,
    width: pane.width,
    height: pane.height,
  };
}

/** Moves the pictures and the divider to where the state says, all panes alike. */
function place() {
  const { x, y, zoom, width, height } = view();
  const [left, top] = [width / 2 - x * zoom, height / 2 - y * zoom].map(Math.round);
  for (const pane of panes()) {
    pane.querySelector(".picture").style.transform =
      `translate(${left}px, ${top}px) scale(${zoom})`;
    const split = Math.min(Math.max(Number(state.split) || 0, 0), 1);
    const cut = Math.max(0, (split * width - left) / zoom);
    if (state.mode === "slider") divide(pane, split, cut);
  }
}

/** Shows the left file up to the divider and the right one from there, or one alone. */
function divide(pane, split, cut) {
  const divider = pane.querySelector(".divider");
  divider.style.left = `${100 * split}%`;
  divider.setAttribute("aria-valuenow", String(Math.round(100 * split)));
  divider.hidden = flicker !== "";
  const [, right, original] = pane.querySelectorAll("img");
  const start = { left: "100%", right: "0" }[flicker] ?? `${cut}px`;
  right.style.clipPath = `inset(0 0 0 ${start})`;
  original.style.clipPath = flicker === "original" ? "none" : "inset(100%)";
  for (const side of ["left", "right"]) {
    pane.querySelector(`.tag.${side}`).hidden = flicker !== "" && flicker !== side;
  }
  const shown = { left: [state.left], right: [state.right], original: ["original"] };
  const captions = (shown[flicker] ?? [state.left, state.right]).map(
    (codec) => pictureOf(codec).caption,
  );
  pane.nextElementSibling.replaceChildren(
    ...captions.flatMap((caption) => [caption, element("br")]),
  );
}

function setFlicker(side) {
  flicker = side;
  byId("flicker").setAttribute("aria-pressed", String(flicker !== ""));
  if (panes().length) place();
}

function zoomBy(factor, at) {
  const { x, y, zoom, width, height } = view();
  const next = Math.min(Math.max(zoom * factor, 0.05), 64);
  const offset = at ? [at.x - width / 2, at.y - height / 2] : [0, 0];
  look(
    x + offset[0] / zoom - offset[0] / next,
    y + offset[1] / zoom - offset[1] / next,
    next,
  );
}

function look(x, y, zoom) {
  const digits = (value) => String(Math.round(1000 * value) / 1000);
  change({ x: digits(x), y: digits(y), zoom: digits(zoom) });
}

function lookAtCrop(name) {
  if (name === "whole") {
    change({ x: "", y: "", zoom: "" });
    return;
  }
  const [x, y, side] = images.get(state.image).crops[name];
  const { width, height } = view();
  look(x + side / 2, y + side / 2, Math.min(width, height) / side);
}

function drawControls() {
  const image = images.get(state.image);
  options(
    "image",
    DATA.images.map(({ name, rank }) => [name, `${name} (${rank})`]),
    state.image,
  );
  const ours = image.rates.map((rate) => rate.bytes[DATA.viewed[0]].bytes);
  options(
    "rate",
    ours.map((bytes, i) => [
      String(i),
      `${((8 * bytes) / (image.width * image.height)).toFixed(2)} bpp, ${(bytes / 1000).toFixed(1)} kB`,
    ]),
    state.rate,
  );
  for (const side of ["left", "right"])
    options(
      side,
      choices().map((name) => [name, name]),
      state[side],
    );
  byId("match").value = state.match;
  byId("match").options[1].textContent = DATA.captions.find(
    (metric) => metric.key === image.metric,
  ).name;
  byId("mode").value = state.mode;
  byId("flicker").setAttribute("aria-pressed", String(flicker !== ""));
}

function options(id, pairs, chosen) {
  byId(id).replaceChildren(
    ...pairs.map(([value, text]) => element("option", { value }, text)),
  );
  byId(id).value = chosen;
}

/** The tables of both files, and what attention keeps of the picture. */
function drawExtras() {
  const image = images.get(state.image);
  const shown = [...new Set([state.left, state.right])].filter(
    (codec) => codec !== "original",
  );
  const parts = shown.map((codec) => tablesOf(codec, entries()[codec].qtables));
  for (const [label, file] of Object.entries(image.attention || {})) {
    const picture = element("img", {
      src: DATA.files[file],
      alt: `Attention of ${label} on ${image.name}`,
    });
    parts.push(
      element(
        "div",
        {},
        element(
          "h3",
          {},
          `What the attention of ${label} keeps: white all, black nothing`,
        ),
        picture,
      ),
    );
  }
  byId("extras").replaceChildren(...parts);
}

function tablesOf(codec, qtables) {
  const cells = (table) =>
    element(
      "div",
      {
        class: "qtable",
        role: "img",
        "aria-label": `Quantization table: ${table.join(" ")}`,
      },
      ...table.map((step) => {
        const cell = element("span", {}, String(step));
        cell.style.background = `hsl(210 60% ${95 - 12 * Math.log2(Math.min(step, 128))}%)`;
        if (step > 14) cell.style.color = "#ffffff";
        return cell;
      }),
    );
  return element(
    "div",
    {},
    element("h3", {}, `Tables of ${codec}: luma, chroma`),
    cells(qtables[0]),
    element("br"),
    cells(qtables[1]),
  );
}

// --- Events of the viewer ------------------------------------------------------------

function toggleFlicker() {
  if (state.mode !== "slider") change({ mode: "slider" });
  setFlicker(flicker === "left" ? "right" : "left");
}

function moveBy(dx, dy) {
  const { x, y, zoom } = view();
  look(x + dx / zoom, y + dy / zoom, zoom);
}

function moveDivider(step) {
  setFlicker("");
  change({ split: String(Math.min(Math.max(Number(state.split) + step, 0), 1)) });
}

const KEYS = {
  " ": toggleFlicker,
  ArrowLeft: () => moveBy(-40, 0),
  ArrowRight: () => moveBy(40, 0),
  ArrowUp: () => moveBy(0, -40),
  ArrowDown: () => moveBy(0, 40),
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  0: () => lookAtCrop("whole"),
  "[": () => moveDivider(-0.05),
  "]": () => moveDivider(0.05),
  o: () => setFlicker("original"),
  Escape: () => setFlicker(""),
};

function buildViewer() {
  for (const id of ["image", "rate", "match", "left", "right", "mode"]) {
    byId(id).addEventListener("change", (event) => {
      setFlicker("");
      const other = id === "image" ? { x: "", y: "", zoom: "" } : {};
      change({ [id]: event.target.value, ...other });
    });
  }
  for (const button of document.querySelectorAll("[data-crop]")) {
    button.addEventListener("click", () => lookAtCrop(button.dataset.crop));
  }
  byId("in").addEventListener("click", () => zoomBy(1.25));
  byId("out").addEventListener("click", () => zoomBy(0.8));
  byId("flicker").addEventListener("click", toggleFlicker);
  for (const link of document.querySelectorAll(".to-image")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (images.has(link.dataset.image))
        showImage(link.dataset.image, link.dataset.codec);
    });
  }
  const stage = byId("stage");
  stage.addEventListener("keydown", (event) => {
    const isDivider = event.target.classList.contains("divider");
    const steps = { ArrowLeft: "[", ArrowRight: "]" };
    const action = KEYS[(isDivider && steps[event.key]) || event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.key === "o" && event.repeat) return;
    action();
    if (isDivider) stage.querySelector(".divider")?.focus();
    else stage.focus();
  });
  stage.addEventListener("keyup", (event) => {
    if (event.key === "o") KEYS.Escape();
  });
  stage.addEventListener(
    "wheel",
    (event) => {
      const pane = event.target.closest(".pane");
      if (!pane) return;
      event.preventDefault();
      const box = pane.getBoundingClientRect();
      zoomBy(2 ** (-event.deltaY / 300), {
        x: event.clientX - box.left,
        y: event.clientY - box.top,
      });
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", startDrag);
  new ResizeObserver(() => {
    if (panes().length) place();
  }).observe(stage);
}

/** Drags the divider, or all pictures; the state is told at the end. */
function startDrag(event) {
  const pane = event.target.closest(".pane");
  if (!pane || event.button) return;
  event.preventDefault();
  byId("stage").focus({ preventScroll: true });
  const box = pane.getBoundingClientRect();
  const isDivider = event.target.classList.contains("divider");
  const start = view();
  const move = (moved) => {
    if (isDivider) {
      state.split = String(
        Math.min(Math.max((moved.clientX - box.left) / box.width, 0), 1),
      );
    } else {
      state.x = String(start.x - (moved.clientX - event.clientX) / start.zoom);
      state.y = String(start.y - (moved.clientY - event.clientY) / start.zoom);
      state.zoom = String(start.zoom);
    }
    place();
  };
  const stop = () => {
    window.removeEventListener("pointermove", move);
    change({});
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", stop, { once: true });
}

// --- All -----------------------------------------------------------------------------

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {}))
    made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawPlots() {
  drawCurves();
  drawCodecs();
  drawScatter();
}

function draw() {
  drawPlots();
  drawViewer();
}

buildCurves();
buildViewer();
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

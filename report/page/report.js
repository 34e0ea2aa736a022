"use strict";

// The state of the page is in its address; every control changes that, then all is drawn.

const MARKERS = [
  "circle",
  "square",
  "triangle-up",
  "diamond",
  "triangle-down",
  "cross",
  "x",
];
const LINE = 2; // px, width of the curves

// --- State ---------------------------------------------------------------------------

const DEFAULTS = {
  metric: DATA.metrics.length ? DATA.metrics[0].key : "psnr",
  log: "0",
  off: "",
  image: DATA.images.length ? DATA.images[0].name : "",
  rate: DATA.images.length ? String(DATA.images[0].rates.length >> 1) : "0",
  match: "bytes",
  left: DATA.rival,
  right: DATA.viewed.length ? DATA.viewed[0] : "original",
  mode: "slider",
  split: "0.5",
  x: "",
  y: "",
  zoom: "", // of the middle of the pane, in px of the picture; scale
};
let state = readState();
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
  if (names.every((name) => MOVES.includes(name))) stage.place();
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

const LOOKS = new Map(DATA.curves.map(({ label, look }) => [label, look]));

/** A colour of the figures, which are on white, where it can be seen on the page. */
function seen(colour) {
  if (!matchMedia("(prefers-color-scheme: dark)").matches) return colour;
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const [r, g, b] = parts;
  const isGrey = r === g && g === b;
  const isDark = 0.21 * r + 0.72 * g + 0.07 * b < 110;
  if (!isDark) return colour;
  const lighter = parts.map((part) => (isGrey ? 255 - part : (part + 255) >> 1));
  return `rgb(${lighter.join()})`;
}

/** The line of a curve with its marker, as in the plot. */
function swatch(label) {
  const { colour, dashes, symbol } = LOOKS.get(label);
  const shape = {
    circle: '<circle cx="20" cy="6" r="4"/>',
    square: '<path d="M16.5 2.5h7v7h-7z"/>',
    "triangle-up": '<path d="M20 1l4.5 8h-9z"/>',
    diamond: '<path d="M20 1l5 5-5 5-5-5z"/>',
    "triangle-down": '<path d="M20 11l4.5-8h-9z"/>',
    cross: '<path d="M18.5 1h3v3.5H25v3h-3.5V11h-3V7.5H15v-3h3.5z"/>',
    x: '<path d="M16 3l1-1 3 3 3-3 1 1-3 3 3 3-1 1-3-3-3 3-1-1 3-3z"/>',
    star: '<path d="M20 0l1.5 4.5H26l-3.6 2.8 1.4 4.4L20 9l-3.8 2.7 1.4-4.4L14 4.5h4.5z"/>',
  }[symbol];
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.innerHTML =
    `<svg width="40" height="12" fill="${seen(colour)}"><path d="M0 6h40" ` +
    `stroke="${seen(colour)}" stroke-width="${LINE}" ` +
    `stroke-dasharray="${dashes.map((part) => LINE * part).join(" ")}"/>${shape}</svg>`;
  return made;
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

/** Ticks of a logarithmic axis at 1, 2, 3 and 5, written in full: 20 and not 2. */
function logTicks(low, high) {
  const decades = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    decades.push(e);
  const of = (steps) =>
    decades
      .flatMap((e) => steps.map((step) => Number(`${step}e${e}`)))
      .filter((value) => value >= low && value <= high);
  const tickvals = of(high / low > 30 ? [1, 3] : [1, 2, 3, 5]);
  return { tickmode: "array", tickvals, ticktext: tickvals.map(String) };
}

function drawCurves() {
  const metric = DATA.metrics.find((m) => m.key === state.metric);
  if (!metric) return;
  const traces = DATA.curves.map((curve) => {
    const { colour, dashes, symbol } = LOOKS.get(curve.label);
    const dash = dashes.map((part) => `${LINE * part}px`).join() || "solid";
    return {
      x: curve.rates[metric.key],
      y: curve.values[metric.key],
      name: plain(curve.label),
      text: curve.rates[metric.key].map((_, i) => curve.settings[i] ?? ""),
      visible: !isOff(curve.label),
      mode: "lines+markers",
      line: { color: seen(colour), dash, width: LINE },
      marker: { color: seen(colour), symbol, size: 7 },
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
        ...(isLog && logTicks(low, high)),
      },
      yaxis: {
        title: { text: metric.axis },
        range: range && metric.smaller ? range.reverse() : range,
      },
    }),
    CONFIG,
  );
}

function drawCodecs() {
  for (const box of byId("codecs").querySelectorAll("input")) {
    box.checked = !isOff(box.value);
    box.nextElementSibling.replaceWith(swatch(box.value));
  }
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
    byId("codecs").append(element("label", {}, box, element("span"), curve.label));
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
    `the file of ${DATA.ours} is the smaller one. A click shows the image in the viewer.`;
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
      color: seen(LOOKS.get(label).colour),
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
  const axis = { type: "log", range: ends.map(Math.log10), ...logTicks(...ends) };
  Plotly.react(
    "scatter",
    traces,
    layout({
      showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "the others [kB]" }, ...axis },
      yaxis: { title: { text: `${plain(DATA.ours)} [kB]` }, ...axis },
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

/** An image of the stage: its address, its name and numbers, an alternative text. */
function pictureOf(codec) {
  const image = images.get(state.image);
  if (codec === "original") {
    return {
      source: DATA.files[image.original],
      name: "original",
      numbers: `${image.width}\u00d7${image.height}`,
      alt: `${image.name}, original`,
    };
  }
  const entry = entries()[codec];
  const ours = entries()[DATA.viewed[0]];
  const bpp = (8 * entry.bytes) / (image.width * image.height);
  const change = Math.round(100 * (entry.bytes / ours.bytes - 1));
  const parts = [`${entry.bytes} bytes`];
  if (change) parts.push(`${change > 0 ? "+" : "\u2212"}${Math.abs(change)} %`);
  parts.push(`${bpp.toFixed(3)} bpp`);
  for (const { key, name, unit, decimals } of DATA.captions) {
    if (entry[key] === undefined) continue; // not finite
    parts.push(`${name} ${entry[key].toFixed(decimals)}${unit && " " + unit}`);
  }
  parts.push(entry.setting);
  return {
    source: DATA.files[entry.file],
    name: codec,
    numbers: parts.join(", "),
    alt: `${image.name}, ${codec}, ${entry.bytes} bytes`,
  };
}

/** The name of an image of the stage, with its numbers. */
function captionOf(codec, start = "") {
  const { name, numbers } = pictureOf(codec);
  return element("p", {}, element("b", {}, start + name), ` ${numbers}`);
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
  stage.place();
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
  const divided = figure([state.left, state.right, "original"]);
  addDivider(divided.firstChild, [state.left, state.right]);
  return [divided];
}

/** A pane with images on top of each other, and the caption of the last one. */
function figure(codecs, kind = "") {
  const start = kind === "error" ? "error of " : "";
  const caption = captionOf(codecs[codecs.length - 1], start);
  return element(
    "figure",
    {},
    paneOf(codecs.map(pictureOf), kind),
    element("figcaption", {}, caption),
  );
}

const stage = new Stage(byId("stage"), {
  state: () => state,
  size: () => images.get(state.image),
  change,
  onPlace: ({ root, alone }) => {
    byId("flicker").setAttribute("aria-pressed", String(alone !== null));
    if (state.mode !== "slider") return;
    const codecs = [state.left, state.right, "original"];
    const seen = alone === null ? codecs.slice(0, 2) : [codecs[alone]];
    const captions = seen.map((codec) => captionOf(codec));
    root.querySelector("figcaption").replaceChildren(...captions);
  },
});
stage.keys[" "] = toggleFlicker;
stage.keys.Escape = () => stage.show(null);
stage.keys.o = (event) => {
  if (event.repeat) return;
  if (state.mode !== "slider") change({ mode: "slider" });
  stage.show(2);
};

function toggleFlicker() {
  if (state.mode !== "slider") change({ mode: "slider" });
  stage.toggle();
}

function lookAtCrop(name) {
  if (name === "whole") stage.look("", "", "");
  else stage.lookAt(images.get(state.image).crops[name]);
}

function drawControls() {
  const image = images.get(state.image);
  fillMenu(
    "image",
    DATA.images.map(({ name, rank }) => [name, rank ? `${name} (${rank})` : name]),
    state.image,
  );
  fillMenu(
    "rate",
    rateTexts(image).map((text, index) => [String(index), text]),
    state.rate,
  );
  for (const side of ["left", "right"])
    fillMenu(
      side,
      choices().map((name) => [name, name]),
      state[side],
    );
  byId("match").value = state.match;
  byId("match").options[1].textContent = DATA.captions.find(
    (metric) => metric.key === image.metric,
  ).name;
  byId("mode").value = state.mode;
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

/** Whether most of the stage is seen, so that a key is meant for it. */
function isStageSeen() {
  const { top, bottom } = byId("stage").getBoundingClientRect();
  const seen = Math.min(bottom, innerHeight) - Math.max(top, 0);
  return stage.panes.length > 0 && seen > (bottom - top) / 2;
}

/** Passes a key to the stage, also if nothing on the page has the focus. */
function pressKey(event) {
  if (!images.size || byId("blind-test").open) return;
  const isInside = byId("stage").contains(event.target);
  // Without a focus the arrows scroll the page, as ever.
  const isFree = event.target === document.body && !event.key.startsWith("Arrow");
  if (!isInside && !(isFree && isStageSeen())) return;
  if (stage.press(event) && isInside && !event.target.matches(".divider"))
    byId("stage").focus();
}

function buildViewer() {
  if (!images.size) return;
  for (const id of ["image", "rate", "match", "left", "right", "mode"]) {
    byId(id).addEventListener("change", (event) => {
      stage.show(null);
      const other = id === "image" ? { x: "", y: "", zoom: "" } : {};
      change({ [id]: event.target.value, ...other });
    });
  }
  for (const button of document.querySelectorAll("[data-crop]")) {
    button.addEventListener("click", () => lookAtCrop(button.dataset.crop));
  }
  byId("in").addEventListener("click", () => stage.zoomBy(1.25));
  byId("out").addEventListener("click", () => stage.zoomBy(0.8));
  byId("flicker").addEventListener("click", toggleFlicker);
  for (const link of document.querySelectorAll(".to-image")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (images.has(link.dataset.image))
        showImage(link.dataset.image, link.dataset.codec);
    });
  }
  document.addEventListener("keydown", pressKey);
  document.addEventListener("keyup", (event) => {
    if (event.key === "o" && stage.alone === 2) stage.show(null);
  });
}

// --- All -----------------------------------------------------------------------------

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

"use strict";

// The blind test: pairs of files whose sides and codecs are hidden. The session, that is
// what is planned and what was voted, is stored in the browser after every vote.

const STORE = `learned-jpeg-blind-test-${DATA.blind.test}`;
const MAX_APART = 1.1; // of files of equal bytes, the larger one over the smaller one
const COUNTS = [12, 24, 48, 96]; // of pairs, without controls
const PAIRS_A_CONTROL = 8; // so many pairs for a control of each kind
const VOTE_KEYS = { a: "first", n: "none", b: "second" };
const SIDES = ["first", "second"];

const dialog = byId("blind-test");
let session = readSession();
let isStored = true;
let since = 0; // when the images of the trial were shown
const look = { x: "", y: "", zoom: "", split: "0.5" };

// --- Session -------------------------------------------------------------------------

/** The stored session; null if there is none of this page. */
function readSession() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE));
    return Array.isArray(stored?.trials) && Array.isArray(stored.votes) ? stored : null;
  } catch {
    return null; // no access, or no JSON
  }
}

function storeSession() {
  try {
    if (session) localStorage.setItem(STORE, JSON.stringify(session));
    else localStorage.removeItem(STORE);
    isStored = true;
  } catch {
    isStored = false;
  }
}

function shuffled(values) {
  const left = [...values];
  for (let i = left.length - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * Math.random());
    [left[i], left[j]] = [left[j], left[i]];
  }
  return left;
}

/** Every image at every rate. */
function everyFile() {
  return DATA.images.flatMap((image) =>
    image.rates.map((_, rate) => ({ image: image.name, rate })),
  );
}

function bytesOf(codec, { image, rate }) {
  return images.get(image).rates[rate].bytes[codec]?.bytes ?? null;
}

function isEqual(codecs, file) {
  if (codecs.includes("original")) return true;
  const sizes = codecs.map((codec) => bytesOf(codec, file));
  return Math.max(...sizes) <= MAX_APART * Math.min(...sizes);
}

/** Pairs in random order, each two codecs by turns, with controls spread among them. */
function planTrials(codecs, against, count) {
  const pairs =
    against === "original"
      ? codecs.map((codec) => [codec, "original"])
      : codecs.flatMap((a, i) => codecs.slice(i + 1).map((b) => [a, b]));
  const decks = pairs.map((pair) =>
    shuffled(everyFile().filter((file) => isEqual(pair, file))).map((file) => ({
      kind: "pair",
      codecs: shuffled(pair),
      ...file,
    })),
  );
  const trials = [];
  while (trials.length < count && decks.some((deck) => deck.length))
    for (const deck of shuffled(decks))
      if (deck.length && trials.length < count) trials.push(deck.pop());
  return trials.length ? withControls(trials, codecs) : [];
}

/** Adds controls, one of each kind somewhere in each stretch of the trials. */
function withControls(trials, codecs) {
  const number = Math.max(3, Math.round(trials.length / PAIRS_A_CONTROL));
  const worse = everyFile().filter(({ image }) => images.get(image).worse);
  const stretches = Array.from({ length: number }, (_, i) => {
    const [start, end] = [i, i + 1].map((k) => (k * trials.length) / number);
    const stretch = trials.slice(Math.round(start), Math.round(end));
    const [codec] = shuffled(codecs);
    stretch.push({ kind: "same", codecs: [codec, codec], ...shuffled(everyFile())[0] });
    if (worse.length) {
      const codecs = shuffled(["original", "worse"]);
      stretch.push({ kind: "worse", codecs, ...shuffled(worse)[0] });
    }
    return shuffled(stretch);
  });
  return stretches.flat();
}

function begin(codecs, against, count, voter) {
  const trials = planTrials(codecs, against, count);
  if (!trials.length) return false;
  const random = () => Math.random().toString(36).slice(2);
  session = { session: random() + random(), voter, against, trials, votes: [] };
  storeSession();
  return true;
}

function focusStage() {
  if (!byId("blind-trial").hidden) byId("blind-stage").focus({ preventScroll: true });
}

function vote(choice) {
  const trial = session.trials[session.votes.length];
  const seconds = Math.round((performance.now() - since) / 100) / 10;
  const bytes = trial.codecs.map((codec) => bytesOf(codec, trial));
  const mode = byId("blind-mode").value;
  session.votes.push({ ...trial, bytes, choice, seconds, mode });
  storeSession();
  drawBlind();
  focusStage();
}

function undo() {
  if (!session.votes.length) return;
  session.votes.pop();
  storeSession();
  drawBlind();
  focusStage();
}

/** What the controls say: how many were seen, and how many were answered right. */
function controlsOf(votes) {
  const worse = votes.filter((vote) => vote.kind === "worse");
  const same = votes.filter((vote) => vote.kind === "same");
  const preferred = ({ codecs, choice }) => codecs[SIDES.indexOf(choice)];
  const recognised = worse.filter((vote) => preferred(vote) === "original").length;
  const equal = same.filter((vote) => vote.choice === "none").length;
  const { minControls, minRecognised, minCalledEqual } = DATA.blind;
  const isPassed =
    Math.min(worse.length, same.length) >= minControls &&
    recognised >= minRecognised * worse.length &&
    equal >= minCalledEqual * same.length;
  return { worse: worse.length, same: same.length, recognised, equal, isPassed };
}

function exported() {
  const { format, version, test } = DATA.blind;
  const { session: name, voter, against, trials, votes } = session;
  const own = { session: name, voter, against, planned: trials.length, votes };
  return JSON.stringify({ format, version, test, ...own }, null, 1);
}

function exportVotes() {
  const name = session.voter.replace(/[^\p{L}\p{N}]+/gu, "_") || session.session;
  const blob = new Blob([exported()], { type: "application/json" });
  const link = element("a", { href: URL.createObjectURL(blob) });
  link.download = `votes_${name}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// --- Views ---------------------------------------------------------------------------

const blindStage = new Stage(byId("blind-stage"), {
  state: () => look,
  size: () => images.get(session.trials[session.votes.length].image),
  change: (values) => {
    Object.assign(look, values);
    blindStage.place();
  },
});
for (const key of ["[", "]"]) {
  const move = blindStage.keys[key];
  blindStage.keys[key] = () => byId("blind-mode").value === "divider" && move();
}
blindStage.keys[" "] = changeSides;
blindStage.keys.o = (event) => event.repeat || showReference(true);

/** Shows setup, trial or result; the result is also shown when it is asked for. */
function drawBlind(wantsResult = false) {
  const isDone = session && session.votes.length >= session.trials.length;
  const view = !session ? "setup" : isDone || wantsResult ? "result" : "trial";
  for (const name of ["setup", "trial", "result"])
    byId(`blind-${name}`).hidden = name !== view;
  if (view === "trial") drawTrial();
  else byId("blind-stage").replaceChildren();
  if (view === "result") drawResult();
  drawInvitation();
}

/** What the page says of the test, outside of it. */
function drawInvitation() {
  const texts = { none: "Start the blind test", done: "Show the result" };
  const [voted, planned] = [session?.votes.length, session?.trials.length];
  const going = `Go on with the blind test (${voted} of ${planned})`;
  byId("blind-open").textContent =
    texts[!session ? "none" : voted >= planned ? "done" : ""] ?? going;
}

/** The images of a trial, in the order of their sides, with the original if it may be
 * seen. Nothing in them tells whose they are. */
function picturesOf({ kind, image, rate, codecs }) {
  const files = images.get(image);
  const special = { original: files.original, worse: files.worse };
  const pictures = codecs.map((codec, side) => ({
    source: DATA.files[special[codec] ?? files.rates[rate].bytes[codec].file],
    alt: `image ${"AB"[side]}`,
  }));
  if (hasReference())
    pictures.push({ source: DATA.files[files.original], alt: "original" });
  return pictures;
}

/** Whether the original may be looked at: not if it is one of the two. */
function hasReference() {
  return session.against !== "original";
}

function drawTrial() {
  const [number, total] = [session.votes.length, session.trials.length];
  const trial = session.trials[number];
  const pictures = picturesOf(trial);
  const mode = byId("blind-mode").value;
  Object.assign(look, { x: "", y: "", zoom: "" });
  if (mode === "side") {
    const panes = [0, 1].map((side) => {
      const pane = paneOf([pictures[side], ...pictures.slice(2)]);
      pane.append(element("span", { class: "tag left" }, "AB"[side]));
      return pane;
    });
    byId("blind-stage").replaceChildren(...panes);
    showReference(false);
  } else {
    const pane = paneOf(pictures);
    addDivider(pane, ["A", "B"]);
    byId("blind-stage").replaceChildren(pane);
    blindStage.show(mode === "turns" ? 0 : null);
  }
  // At first the pixels are those of the screen, or whole multiples.
  const { whole } = blindStage.view();
  blindStage.look("", "", Math.max(1, Math.floor(whole)));
  byId("blind-place").textContent =
    `Pair ${number + 1} of ${total}: which image is better?`;
  Object.assign(byId("blind-progress"), { max: total, value: number });
  byId("blind-undo").disabled = number === 0;
  byId("blind-swap").disabled = mode === "side";
  byId("blind-reference").hidden = !hasReference();
  since = performance.now();
  const next = session.trials[number + 1];
  if (next) for (const { source } of picturesOf(next)) new Image().src = source;
}

function changeSides() {
  if (byId("blind-mode").value !== "side") blindStage.toggle();
}

/** Covers all panes with the original while its key is held. */
function showReference(isShown) {
  if (!hasReference()) return;
  const mode = byId("blind-mode").value;
  if (mode !== "side") {
    blindStage.show(isShown ? 2 : mode === "turns" ? 0 : null);
    return;
  }
  for (const pane of blindStage.panes)
    pane.querySelectorAll("img")[1].style.clipPath = isShown ? "none" : "inset(100%)";
}

const percent = (share) => `${Math.round(100 * share)} %`;

function drawResult() {
  const { votes, trials } = session;
  const own = votes.filter((vote) => vote.kind === "pair");
  const controls = controlsOf(votes);
  byId("blind-summary").textContent =
    `${own.length} votes between codecs. Of the hidden controls you recognised ` +
    `${controls.recognised} of ${controls.worse} plainly worse images, and called ` +
    `${controls.equal} of ${controls.same} pairs of identical files equal: your votes ` +
    (controls.isPassed ? "count." : "do not count when those of people are merged.") +
    (isStored ? "" : " This browser stores nothing of a page like this: export them.");
  const pairs = pairsOf(
    own.map(({ codecs, choice }) => [...codecs, codecs[SIDES.indexOf(choice)] ?? null]),
  );
  const tables = [];
  if (pairs.length) {
    const rows = pairs.map(({ codecs, votes, preference }) => [
      codecs.join(" over "),
      preference,
      votes.join(" : "),
    ]);
    tables.push(sharesTable(["pair", "preferred", "for : none : against"], rows));
  }
  const strengths = strengthsOf(pairs);
  if (strengths.length) {
    const rows = strengths.map(({ codec, preference, logOdds }) => [
      codec,
      preference,
      logOdds.toFixed(2).replace("-", "\u2212"),
    ]);
    const heading = ["codec", "preferred over an average codec", "log odds"];
    tables.push(
      element("p", {}, "Strengths by Bradley and Terry, from all pairs together:"),
      sharesTable(heading, rows),
    );
  }
  byId("blind-tables").replaceChildren(...tables);
  byId("blind-resume").hidden = votes.length >= trials.length;
  byId("blind-back").disabled = votes.length === 0;
  byId("blind-result").focus();
}

/** A table of rows [text, [share, low, high], text], each with its interval drawn. */
function sharesTable(heading, rows) {
  const head = [heading[0], heading[1], "95 %", "", heading[2]].map((text) =>
    element("th", { scope: "col" }, text),
  );
  const body = rows.map(([name, [share, low, high], more]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", {}, percent(share)),
      element("td", {}, `${percent(low)} to ${percent(high)}`),
      element("td", {}, intervalBar(share, low, high)),
      element("td", {}, more),
    ),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)));
  table.append(element("tbody", {}, ...body));
  return element("div", { class: "scroll" }, table);
}

function intervalBar(share, low, high) {
  const bar = element("span", { class: "interval", "aria-hidden": "true" });
  const range = element("i", {});
  range.style.left = `${100 * low}%`;
  range.style.width = `${100 * (high - low)}%`;
  const dot = element("b", {});
  dot.style.left = `${100 * share}%`;
  bar.append(range, dot);
  return bar;
}

// --- Events --------------------------------------------------------------------------

function submitSetup(event) {
  event.preventDefault();
  const codecs = [...byId("blind-codecs").querySelectorAll("input:checked")].map(
    (box) => box.value,
  );
  const against = byId("blind-setup").elements.against.value;
  const fewest = against === "original" ? 1 : 2;
  const voter = byId("blind-voter").value.trim();
  let problem = "";
  if (codecs.length < fewest)
    problem = `Choose at least ${fewest === 1 ? "one codec" : "two codecs"}.`;
  else if (!begin(codecs, against, Number(byId("blind-count").value), voter))
    problem = "No image has files of equal bytes of these codecs: choose others.";
  byId("blind-problem").textContent = problem;
  if (problem) return;
  drawBlind();
  focusStage();
}

function pressBlindKey(event) {
  if (!dialog.open || byId("blind-trial").hidden) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("select, input")) return;
  if (event.target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  const choice = VOTE_KEYS[event.key];
  if (choice && !event.repeat) vote(choice);
  else if (event.key === "u" && !event.repeat) undo();
  else blindStage.press(event);
}

function buildBlind() {
  if (!images.size) {
    byId("blind").hidden = true;
    return;
  }
  const proposed = [DATA.viewed[0], DATA.rival];
  for (const codec of DATA.viewed) {
    const box = element("input", { type: "checkbox", value: codec });
    box.defaultChecked = proposed.includes(codec);
    byId("blind-codecs").append(element("label", {}, box, codec));
  }
  fillMenu(
    "blind-count",
    COUNTS.map((count) => [count, String(count)]),
    "24",
  );
  byId("blind-open").addEventListener("click", () => {
    dialog.showModal();
    drawBlind();
    focusStage();
  });
  byId("blind-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => byId("blind-stage").replaceChildren());
  byId("blind-setup").addEventListener("submit", submitSetup);
  byId("blind-mode").addEventListener("change", drawTrial);
  for (const button of document.querySelectorAll("[data-vote]"))
    button.addEventListener("click", () => vote(button.dataset.vote));
  byId("blind-swap").addEventListener("click", changeSides);
  byId("blind-undo").addEventListener("click", undo);
  byId("blind-end").addEventListener("click", () => drawBlind(true));
  byId("blind-resume").addEventListener("click", () => {
    drawBlind();
    focusStage();
  });
  byId("blind-back").addEventListener("click", undo);
  byId("blind-export").addEventListener("click", exportVotes);
  byId("blind-again").addEventListener("click", () => {
    if (!confirm(`Forget ${session.votes.length} votes?`)) return;
    session = null;
    storeSession();
    drawBlind();
  });
  document.addEventListener("keydown", pressBlindKey);
  document.addEventListener("keyup", (event) => {
    if (event.key === "o" && dialog.open && !byId("blind-trial").hidden)
      showReference(false);
  });
  drawInvitation();
}

buildBlind();

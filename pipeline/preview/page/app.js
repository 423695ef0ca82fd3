// The page: asks for the numbers once a second, shows them, and posts what the viewer changes.

import { Chart } from "/charts.js";
import { Stream } from "/stream.js";

const POLL = 1000; // ms
const BAND = 1 / 3; // of the width, as the server lays it out
const VIEWS = {
  fused: ["Fused", "What both cameras saw"], ir: ["IR", "Infrared alone, in the palette"], vis: ["VIS", "Visible alone"],
  blend: ["Blend", "A plain average, by the IR share"], pip: ["Inset", "IR in a corner of VIS"],
  edges: ["Edges", "Edges of VIS over coloured IR"], hot: ["Hot", "What is hot in IR over VIS"],
};
const LEVEL = { running: "good", connecting: "warn", stalled: "warn", retrying: "bad", stopped: "bad" };
const RUN_LEVEL = { fusing: "good", starting: "warn", waiting: "warn", "ir lost": "bad", "vis lost": "bad", "both lost": "bad", stopped: "bad" };

const $ = (id) => document.getElementById(id);
let stats = null, lost = 0, dragging = false, toastTimer = 0;
let choosingLevels = false; // "fixed" is chosen, its two counts are not yet

// --- small helpers

const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };
const fixed = (value, digits = 1, unit = "") => (value === null || value === undefined ? "–" : `${value.toFixed(digits).replace("-", "−")}${unit}`);
const sum = (counts) => Object.values(counts ?? {}).reduce((total, count) => total + count, 0);

function make(tag, className, content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = content;
  return element;
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds)), part = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), rest = `${part(Math.floor(whole / 60) % 60)}:${part(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let k = 0;
  for (; count >= 1000 && k < 4; k += 1) count /= 1000;
  return `${count.toFixed(k && count < 100 ? 1 : 0)} ${units[k]}`;
}

function toast(message) {
  text("toast", message);
  $("toast").classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 5000);
}

// --- talking to the server

async function ask(path, options = {}) {
  let answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.status === 401) {
    await fetch("/", { cache: "no-store" }); // a run started anew has a new token, which comes with the page on this machine
    answer = await fetch(path, { cache: "no-store", ...options });
  }
  if (answer.status === 401) { askToken(); throw new Error("a token is needed"); }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer;
}

const post = (path, value) => ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value ?? {}) });

/** Posts changes one after the other; while one is under way, later ones merge: a drag sends no heap of requests. */
const changes = { waiting: null, busy: false };
async function change(fields) {
  Object.assign(stats?.controls ?? {}, fields);
  showControls();
  changes.waiting = { ...changes.waiting, ...fields };
  if (changes.busy) return;
  changes.busy = true;
  while (changes.waiting) {
    const next = changes.waiting;
    changes.waiting = null;
    try {
      const controls = await (await post("/controls", next)).json();
      if (stats && !changes.waiting) stats.controls = controls;
    } catch (error) { toast(error.message); changes.waiting = null; await poll(); }
  }
  changes.busy = false;
  showControls();
}

async function askToken(token) {
  if (token === undefined) { if (!$("login").open) $("login").showModal(); return; }
  const answer = await fetch("/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) });
  $("refused").hidden = answer.ok;
  if (!answer.ok) { askToken(); return; }
  $("login").close();
  await poll();
  stream.start();
}

async function poll() {
  try {
    const fresh = await (await ask("/stats.json")).json();
    if (changes.busy || dragging) fresh.controls = stats?.controls ?? fresh.controls;
    chart(stats, fresh);
    restartIfStuck(stats, fresh);
    stats = fresh; lost = 0;
    show();
  } catch (error) {
    lost += 1;
    if (lost > 1 && !$("login").open) say("bad", "no connection", "The run cannot be reached; trying again");
  }
}

function restartIfStuck(before, now) {
  const silent = performance.now() - Math.max(stream.lastAt, stream.openedAt ?? 0) > 6000;
  if (before && now.published > before.published && silent && !document.hidden) { stream.openedAt = performance.now(); stream.restart(); }
}

// --- showing

function say(level, state, message) {
  $("state").dataset.level = level;
  text("state-word", state);
  text("message", message);
}

function show() {
  const { status } = stats;
  say(RUN_LEVEL[status.state] ?? "quiet", status.state, status.message);
  $("sources").replaceChildren(...Object.values(status.cameras).map(source));
  facts(status);
  recording(status.recording);
  showControls();
  const age = stream.lastAt ? (performance.now() - stream.lastAt) / 1000 : 0;
  if (stream.shown && age > 2.5) veil(`No new picture for ${age.toFixed(0)} s`);
}

function source(camera) {
  const card = make("div", "source card");
  card.dataset.level = LEVEL[camera.state] ?? "quiet";
  const top = make("div", "top"), state = make("span", "state");
  state.dataset.level = card.dataset.level;
  state.append(make("i"), `${camera.state} ${clock(stats.now - camera.since)}`);
  top.append(make("strong", "", camera.name.toUpperCase()), state);
  const label = make("div", "label");
  label.append(make("bdi", "", camera.label));
  label.title = camera.label;
  const age = camera.last_frame === null ? null : Math.max(0, stats.now - camera.last_frame);
  const list = make("dl");
  pairs(list, [
    ["Rate", fixed(camera.fps, 1, " fps")], ["Size", camera.width ? `${camera.width}×${camera.height}` : "–"],
    ["Last", age === null ? "–" : age < 1 ? `${(age * 1000).toFixed(0)} ms` : `${age.toFixed(0)} s ago`], ["Depth", camera.bits ? `${camera.bits} bit` : "–"],
    ["Lost", String(sum(camera.drops))], ["Retries", String(camera.reconnects)],
  ]);
  list.title = Object.entries(camera.drops).map(([reason, count]) => `${reason}: ${count}`).join("\n");
  card.append(top, label);
  if (camera.reason) card.append(make("p", "reason", camera.reason));
  card.append(list);
  if (camera.notes.length) card.append(make("p", "note", camera.notes.at(-1)));
  return card;
}

function pairs(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

function facts(status) {
  const lines = [["Running", clock(status.uptime)], ["Pairs", status.pairs.toLocaleString("en")]];
  if (status.backend) lines.push(["Fused by", status.backend]);
  for (const [stage, times] of Object.entries(status.stages_ms)) lines.push([stage, `${fixed(times.p50)} ms, p95 ${fixed(times.p95)}`]);
  for (const [reason, count] of Object.entries(status.drops)) lines.push([`Dropped: ${reason}`, count.toLocaleString("en")]);
  lines.push(["Memory", bytes(status.rss_bytes)], ["Viewers", `${stats.viewers} of ${stats.viewer_limit}`]);
  pairs($("facts"), lines);
}

function recording(record) {
  const on = stats.controls.recording;
  $("record").setAttribute("aria-pressed", on);
  $("record").lastElementChild.textContent = on ? "Stop" : "Record";
  $("recorded").hidden = !record;
  $("recorded").classList.toggle("bad", Boolean(record?.error));
  if (record) text("recorded", record.error ? record.error : `${clock(record.seconds ?? 0)} · ${bytes(record.bytes ?? 0)}`);
}

function veil(message) {
  $("veil").hidden = message === null;
  if (message !== null) text("veil-word", message);
}

// --- charts

const charts = {
  fps: new Chart($("fps-chart"), [{ colour: "ir" }, { colour: "vis" }, { colour: "out", fill: true }], { least: 10 }),
  latency: new Chart($("latency-chart"), [{ colour: "#5d6a75" }, { colour: "out", fill: true }], { least: 50 }),
  skew: new Chart($("skew-chart"), [{ colour: "out" }], { about: "zero", least: 10 }),
  drops: new Chart($("drops-chart"), [{ colour: "bad", bars: true }], { least: 5 }),
};

const allDrops = (status) => sum(status.drops) + Object.values(status.cameras).reduce((total, camera) => total + sum(camera.drops), 0);

function chart(before, now) {
  const { status } = now;
  charts.fps.add([status.cameras.ir?.fps ?? null, status.cameras.vis?.fps ?? null, status.fps]);
  charts.latency.add([status.latency_ms.p95 ?? null, status.latency_ms.last ?? null]);
  charts.skew.add([status.skew_ms.last ?? null]);
  const rate = before ? Math.max(0, allDrops(status) - allDrops(before.status)) / Math.max(0.2, now.now - before.now) : null;
  charts.drops.add([rate]);
  text("fps-now", fixed(status.fps, 1, " fps"));
  text("latency-now", fixed(status.latency_ms.p50, 0, " ms"));
  text("skew-now", fixed(status.skew_ms.last, 1, " ms"));
  text("drops-now", allDrops(status).toLocaleString("en"));
}

// --- controls

function showControls() {
  if (!stats) return;
  const { controls, choices } = stats;
  fillViews(choices.view);
  fillPalettes(choices.palette);
  for (const button of $("views").children) button.setAttribute("aria-checked", button.dataset.view === controls.view);
  setUnlessHeld("palette", controls.palette);
  const [mode, levels] = controls.agc.split(":");
  if (!choosingLevels) setUnlessHeld("agc", mode);
  $("levels").hidden = $("agc").value !== "fixed";
  if (levels) { const [low, high] = levels.split(","); setUnlessHeld("low", low.trim()); setUnlessHeld("high", high.trim()); }
  setUnlessHeld("weight", controls.weight); text("weight-now", controls.weight.toFixed(2));
  setUnlessHeld("hot_level", controls.hot_level); text("hot_level-now", String(controls.hot_level));
  for (const row of document.querySelectorAll("[data-for]")) row.classList.toggle("idle", !row.dataset.for.split(" ").includes(controls.view));
  text("weight-name", controls.view === "edges" ? "Edge strength" : "Share of IR");
  text("nudge-now", controls.nudge.map((part) => (part > 0 ? `+${part}` : String(part).replace("-", "−"))).join(", "));
  $("overlay").checked = controls.overlay;
  showDivider(controls);
}

function setUnlessHeld(id, value) { if (document.activeElement !== $(id) && $(id).value !== String(value)) $(id).value = value; }

function fillViews(names) {
  if ($("views").childElementCount) return;
  $("views").replaceChildren(...names.map((name) => {
    const [label, title] = VIEWS[name] ?? [name, ""], button = make("button", "", label);
    button.dataset.view = name; button.title = title;
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => change({ view: name }));
    return button;
  }));
}

function fillPalettes(names) {
  if ($("palette").childElementCount === names.length) return;
  $("palette").replaceChildren(...names.map((name) => make("option", "", name)));
}

function setGain() {
  const mode = $("agc").value, low = $("low").valueAsNumber, high = $("high").valueAsNumber;
  $("levels").hidden = mode !== "fixed";
  choosingLevels = mode === "fixed" && !(low < high);
  if (mode !== "fixed") change({ agc: mode });
  else if (low < high) change({ agc: `fixed:${low},${high}` });
  else if (Number.isFinite(low) && Number.isFinite(high)) toast("The lowest count must be below the highest");
}

function showDivider({ divider, view }) {
  const out = divider !== null;
  $("divide").setAttribute("aria-pressed", out);
  $("divider").hidden = !out;
  $("frame").classList.toggle("divided", out);
  if (!out) return;
  $("band").style.left = `${(divider - BAND / 2) * 100}%`;
  $("grip").setAttribute("aria-valuenow", Math.round(divider * 100));
  text("band-name", VIEWS[view]?.[0] ?? view);
  $("band").firstElementChild.hidden = divider - BAND / 2 < 0.12; // no room for the word
  $("band").querySelector(".right").hidden = divider + BAND / 2 > 0.85;
}

function drag(event) {
  const box = $("frame").getBoundingClientRect();
  change({ divider: Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) });
}

$("frame").addEventListener("pointerdown", (event) => {
  if (!$("frame").classList.contains("divided")) return;
  dragging = true;
  $("frame").setPointerCapture(event.pointerId);
  drag(event);
});
$("frame").addEventListener("pointermove", (event) => { if (dragging) drag(event); });
for (const end of ["pointerup", "pointercancel"]) $("frame").addEventListener(end, () => { dragging = false; });
$("grip").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
  if (!step) return;
  event.preventDefault();
  change({ divider: Math.min(1, Math.max(0, stats.controls.divider + step)) });
});
$("divide").addEventListener("click", () => change({ divider: stats?.controls.divider === null ? 0.5 : null }));
$("palette").addEventListener("change", () => change({ palette: $("palette").value }));
for (const id of ["agc", "low", "high"]) $(id).addEventListener("change", setGain);
$("weight").addEventListener("input", () => change({ weight: $("weight").valueAsNumber }));
$("hot_level").addEventListener("input", () => change({ hot_level: $("hot_level").valueAsNumber }));
$("overlay").addEventListener("change", () => change({ overlay: $("overlay").checked }));
$("record").addEventListener("click", () => change({ recording: !stats?.controls.recording }));
for (const button of document.querySelectorAll("[data-nudge]")) {
  button.addEventListener("click", (event) => {
    if (!stats) return;
    if (button.dataset.nudge === "reset") { change({ nudge: [0, 0] }); return; }
    const step = event.shiftKey ? 10 : 1, [x, y] = button.dataset.nudge.split(",").map(Number);
    change({ nudge: [stats.controls.nudge[0] + x * step, stats.controls.nudge[1] + y * step] });
  });
}
$("snapshot").addEventListener("click", async () => {
  $("snapshot").disabled = true;
  try {
    const answer = await post("/snapshot"), link = make("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))?.[1] ?? "snapshot.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (error) { toast(error.message); }
  $("snapshot").disabled = false;
});
$("login").addEventListener("submit", (event) => { event.preventDefault(); askToken($("token").value); });
$("login").addEventListener("cancel", (event) => event.preventDefault());

// --- begin

const stream = new Stream($("picture"), {
  onSize: (width, height) => {
    document.documentElement.style.setProperty("--w", width);
    document.documentElement.style.setProperty("--h", height);
  },
  tell: veil, onToken: askToken,
});
document.addEventListener("visibilitychange", () => { if (document.hidden) stream.stop(); else if (stats) stream.start(); });

const handed = new URLSearchParams(location.hash.slice(1)).get("token");
if (handed !== null) {
  history.replaceState(null, "", "/"); // the token stays neither in the address bar nor in the history
  await askToken(handed);
} else {
  await poll();
  if (stats) stream.start();
}
setInterval(() => { if (!document.hidden && !$("login").open) poll(); }, POLL);

"""The page's script: draws every figure anew from what is chosen. Kept in Python because a Flower bundle
carries no .js file."""

from scenarios.page_fairness import FAIRNESS
from scenarios.page_pareto import PARETO
from scenarios.page_plots import PLOTS
from scenarios.page_time import TIME

_SCRIPT = r"""
(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const all = (selector) => [...document.querySelectorAll(selector)];
const hidden = new Set();
const axes = {
  round: {title: "rounds", format: "", log: false},
  uplink_bytes: {title: "uplink bytes, all clients", format: "~s", suffix: "B", log: true},
  uplink_wire_bytes: {title: "uplink bytes on the wire, all clients", format: "~s", suffix: "B", log: true},
  virtual_seconds: {title: "virtual time", format: "", log: false},
  wall_seconds: {title: "wall time", format: "", log: false},
};
for (const key of Object.keys(axes)) axes[key].key = key;
let x = "round";
let logX = false;

// Which radio button of a group is pressed.
const picked = (name, otherwise) => {
  const input = document.querySelector(`input[name="${name}"]:checked`);
  return input && input.value ? input.value : otherwise;
};
// Seconds of the unit in which a span of time reads best, and its sign.
const span = (most) => most > 3 * 86400 ? [86400, " d"] : most > 3 * 3600 ? [3600, " h"] : most > 600 ? [60, " min"]
  : [1, " s"];
const chosen = () => data.methods.filter((m, i) => !hidden.has(i));
const colour = (m) => (m.style.colour === "ink" ? css("--ink") : m.style.colour);
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const config = (name) => ({responsive: true, displaylogo: false,
  modeBarButtons: [["toImage", "resetScale2d"]],
  toImageButtonOptions: {format: "svg", filename: name}});

// What diverges would flatten all others, so it has no say in the range and leaves the figure.
function range(key, log) {
  const settled = chosen().filter((m) => !m.diverged);
  const from = settled.length ? settled : chosen();
  let low = Infinity, high = -Infinity;
  for (const m of from) for (const v of m.curves[key]) {
    if (v === null || (log && v <= 0)) continue;
    low = Math.min(low, v); high = Math.max(high, v);
  }
  if (low > high) return null;
  if (log) { low = Math.log10(low); high = Math.log10(high); }
  const pad = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - pad, high + pad];
}

function isLog(box) {
  if (box.dataset.log !== "auto") return box.dataset.log === "yes";
  const values = data.methods.filter((m) => !m.diverged)
    .flatMap((m) => m.curves[box.dataset.y]).filter((v) => v !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  return low > 0 && values.reduce((a, b) => Math.max(a, b), low) > 50 * low;
}

// How the common axis is divided: seconds in the unit that reads best, over all methods.
function unit() {
  if (!x.endsWith("seconds")) return [1, axes[x].suffix || ""];
  return span(data.methods.flatMap((m) => m.curves[x]).reduce((a, b) => Math.max(a, b), 0));
}

function trace(m, key, format, logY) {
  const axis = axes[x], [scale, suffix] = unit();
  const usable = (v, log) => (log && v <= 0 ? null : v);  // else plotly joins it to the edge
  return {type: "scatter", mode: "lines+markers", name: escaped(m.label),
    x: m.curves[x].map((v) => (v === null ? v : usable(v, logX) && v / scale)),
    y: m.curves[key].map((v) => usable(v, logY)),
    line: {color: colour(m), dash: m.style.dash, width: 2.2},
    marker: {symbol: m.style.symbol, size: 7.5, maxdisplayed: 9},
    hovertemplate: `<b>${escaped(m.label)}</b><br>%{y:${format}} at %{x:${axis.format || ",.4~g"}}` +
      `${suffix}<extra></extra>`};
}

// A sign where a diverging method was last seen inside the figure.
function fall(m, key, bounds, log) {
  const inside = (v) => v !== null && (!log || v > 0) && (log ? Math.log10(v) : v) <= bounds[1];
  let at = -1;
  m.curves[key].forEach((v, i) => { if (inside(v) && !(logX && m.curves[x][i] <= 0)) at = i; });
  return at < 0 ? [] : [{type: "scatter", mode: "markers+text", hoverinfo: "skip", cliponaxis: false,
    x: [m.curves[x][at] / unit()[0]], y: [m.curves[key][at]], text: ["diverged"], textposition: "middle right",
    marker: {symbol: "x-thin", size: 11, line: {width: 3, color: colour(m)}},
    textfont: {color: css("--ink"), size: 12}}];
}

const common = () => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: "zoom",
  font: {family: "system-ui, sans-serif", size: 13, color: css("--soft")},
  hoverlabel: {bgcolor: css("--panel"), bordercolor: css("--line"), font: {color: css("--ink")}},
  modebar: {bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--accent")},
});

function curves(box) {
  const key = box.dataset.y, log = isLog(box), axis = axes[x], bounds = range(key, log);
  const line = {gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true};
  const traces = chosen().map((m) => trace(m, key, box.dataset.hover, log));
  if (bounds) for (const m of chosen()) if (m.diverged) traces.push(...fall(m, key, bounds, log));
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 18, t: 26, b: 46}, hovermode: "closest",
    xaxis: {...line, type: logX ? "log" : "linear", title: {text: axis.title, standoff: 8},
      tickformat: axis.format || (logX ? "" : ",~g"), ticksuffix: unit()[1], showline: true,
      minor: {ticks: logX ? "outside" : "", ticklen: 3}, rangemode: logX ? "normal" : "tozero",
      ...(logX ? {dtick: 1} : {nticks: 8})},
    yaxis: {...line, type: log ? "log" : "linear", tickformat: box.dataset.tick, exponentformat: "power",
      ...(log && bounds && bounds[1] - bounds[0] > 1.5
        ? {dtick: Math.max(1, Math.ceil((bounds[1] - bounds[0]) / 7))} : {}),
      ...(bounds ? {range: bounds} : {})}}, config(key));
}

function partition(box) {
  const p = data.partitions[Number(box.dataset.partition)];
  const scale = [0, 1, 2, 3].map((i) => [[0, 0.25, 0.6, 1][i], css(`--h${i}`)]);
  const total = p.columns.map((_, j) => p.counts.reduce((sum, row) => sum + row[j], 0));
  const share = p.counts.map((row) => row.map((v, j) => (total[j] ? v / total[j] : 0)));
  Plotly.react(box, [{type: "heatmap", z: p.counts, y: p.classes.map(escaped), customdata: share,
    x: p.columns.map((_, j) => j + (p.grouped ? 1 : 0)), colorscale: scale, zmin: 0,
    xgap: p.columns.length > 120 ? 0 : 1, ygap: 1,
    colorbar: {title: {text: "samples", side: "right"}, thickness: 12, outlinewidth: 0},
    hovertemplate: `${p.grouped ? "group" : "client"} %{x}<br>class %{y}<br>%{z:,.4~g} samples, ` +
      "%{customdata:.0%}<extra></extra>"}],
  {...common(), margin: {l: 62, r: 10, t: 30, b: 46},
    xaxis: {title: {text: p.grouped ? "groups of clients with a like mix" : "client", standoff: 8},
      showgrid: false, zeroline: false, tick0: 0, dtick: Math.ceil(p.columns.length / 12)},
    yaxis: {type: "category", autorange: "reversed", showgrid: false, automargin: true,
      title: {text: "class", standoff: 8}}},
  config("partition"));
}

/* PLOTS */

// Figures that show methods, and those that do not.
const ofMethods = () => {
  all("[data-y]").forEach(curves);
  all("[data-goal]").forEach(goals);
  all("[data-pareto]").forEach(pareto);
  all("[data-shadows]").forEach(shadows);
  all("[data-energy]").forEach(energy);
  all("[data-staleness]").forEach(staleness);
  all("[data-quantiles]").forEach(quantiles);
  all("[data-served]").forEach(served);
};
function draw() {
  ofMethods();
  all("[data-partition]").forEach(partition);
  all("[data-map]").forEach(participation);
  all("[data-gantt]").forEach(gantt);
}

function legend(button, i) {
  const show = () => all(".legend button")
    .forEach((b, j) => b.setAttribute("aria-pressed", String(!hidden.has(j))));
  button.addEventListener("click", () => {
    if (!hidden.delete(i)) hidden.add(i);
    show(); ofMethods();
  });
  button.addEventListener("dblclick", () => {  // its two clicks have undone one another
    const others = data.methods.map((_, j) => j).filter((j) => j !== i);
    const alone = !hidden.has(i) && others.every((j) => hidden.has(j));
    hidden.clear();
    if (!alone) others.forEach((j) => hidden.add(j));
    show(); ofMethods();
  });
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try { await navigator.clipboard.writeText(code.textContent); } catch {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

const logBox = document.getElementById("log-x");
const fixed = new URLSearchParams(location.hash.slice(1)).get("x");  // report.html#x=uplink_bytes
all("input[name=x]").forEach((input) => {
  if (input.value === fixed) input.checked = true;
  const pick = () => { x = input.value; logX = logBox.checked = axes[x].log; };
  if (input.checked) pick();
  input.addEventListener("change", () => { pick(); all("[data-y]").forEach(curves); });
});
if (logBox) logBox.addEventListener("change", () => { logX = logBox.checked; all("[data-y]").forEach(curves); });
for (const name of ["goal-cost", "pareto-x", "pareto-y", "fairness"])
  all(`input[name=${name}]`).forEach((input) => input.addEventListener("change", () => {
    if (name === "fairness") { all("[data-quantiles]").forEach(quantiles); all("[data-served]").forEach(served); }
    else if (name === "goal-cost") all("[data-goal]").forEach(goals);
    else all("[data-pareto]").forEach(pareto);
  }));
all(".legend button").forEach(legend);
all(".copy").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
})();
"""

SCRIPT = _SCRIPT.replace("/* PLOTS */", PLOTS + PARETO + TIME + FAIRNESS)

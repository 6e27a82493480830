"""Figures on devices for the page's script: participation, Gantt, energy, staleness. Stands inside its function."""

TIME = r"""
const fates = data.fates || [];
const ending = (fate) => fates.find((f) => f.name === fate).words;
const above = () => ({orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: {size: 12}, traceorder: "normal"});
const timeline = () => (data.timelines || [])[Number(document.getElementById("timed").value)];
const plain = () => ({gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true});

// Clients, quickest on top, by rounds.
function participation(box) {
  const p = timeline().participation, lettered = p.cells.length > 0;
  const code = (c) => (c === "." ? null : fates.findIndex((f) => f.letter === c));
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const share = (row) => [...row].map((c) => 100 * p.most * letters.indexOf(c) / 63);
  const z = lettered ? p.cells.map((row) => [...row].map(code)) : p.used.map(share);
  const asked = p.asked.map(share);
  all(".key").forEach((key) => { key.hidden = !lettered; });
  const who = p.rows.map((r) => Array.isArray(r) ? `clients at places ${r[0]} to ${r[1]}` : `client ${r}`);
  const when = p.rounds.map((r) => p.width > 1 ? `rounds ${r} to ${r + p.width - 1}` : `round ${r}`);
  const words = z.map((row, i) => row.map((v, j) => `${who[i]}, ${when[j]}<br>` + (lettered
    ? (v === null ? "not asked" : fates[v].words)
    : `${v.toPrecision(2)} % used, ${asked[i][j].toPrecision(2)} % asked`)));
  const few = z.length <= 40 && p.rounds.length <= 60;
  const steps = fates.flatMap((f, i) => [[i / fates.length, f.colour], [(i + 1) / fates.length, f.colour]]);
  const shades = [0, 1, 2, 3].map((i) => [[0, 0.25, 0.6, 1][i], css(`--h${i}`)]);
  Plotly.react(box, [{type: "heatmap", z, x: p.rounds, y: p.rows.map((_, i) => i + 1), text: words, hoverongaps: false,
    hovertemplate: "%{text}<extra></extra>", xgap: few ? 1 : 0, ygap: few ? 1 : 0,
    ...(lettered ? {zmin: -0.5, zmax: fates.length - 0.5, colorscale: steps, showscale: false}
      : {zmin: 0, colorscale: shades,
        colorbar: {title: {text: "% used", side: "right"}, thickness: 12, outlinewidth: 0}})},
    ...(lettered && few ? [{type: "scatter", mode: "text", hoverinfo: "skip", textfont: {size: 12, color: "#ffffff"},
      x: z.flatMap((row) => p.rounds), y: z.flatMap((row, i) => row.map(() => i + 1)),
      text: z.flatMap((row) => row.map((v) => v === null ? "" : fates[v].glyph))}] : [])],
  {...common(), margin: {l: 62, r: 10, t: 30, b: 46},
    xaxis: {...plain(), showgrid: false, title: {text: "round", standoff: 8}, nticks: 12, tickformat: ",d",
      range: [p.rounds[0] - p.width / 2, p.rounds[p.rounds.length - 1] + p.width / 2]},
    yaxis: {...plain(), showgrid: false, range: [z.length + 0.5, 0.5], nticks: 10, tickformat: ",d",
      title: {text: "clients, quickest on top", standoff: 8}}}, config("participation"));
}

// The rounds asked for, as far as the page has them one after another.
function roundRange(g) {
  const from = document.getElementById("gantt-from"), to = document.getElementById("gantt-to");
  const have = g.rounds.map(([r]) => r), last = have[have.length - 1];
  const near = (v, otherwise) => (Number.isFinite(v) ? have.find((r) => r >= v) || last : otherwise);
  const a = near(from.valueAsNumber, have[0]), b = Math.max(a, near(to.valueAsNumber, a));
  let end = have.indexOf(a);
  while (have[end + 1] === have[end] + 1 && have[end + 1] <= b) end += 1;
  document.getElementById("gantt-none").hidden = have[end] >= b;
  from.value = a; to.value = have[end];
  return g.rounds.slice(have.indexOf(a), end + 1);
}

// Some of the rows, evenly and with both ends, so that each can be seen.
const few = (items, most) => items.length <= most ? items
  : Array.from({length: most}, (_, i) => items[Math.floor(i * (items.length - 1) / (most - 1))]);

function gantt(box) {
  const g = timeline().gantt, rounds = roundRange(g), numbers = new Set(rounds.map(([r]) => r));
  const inside = g.spans.filter((s) => numbers.has(s[1]));
  const rows = few([...new Set(inside.map((s) => s[0]))].sort((a, b) => a - b), 48), seen = new Set(rows);
  const spans = inside.filter((s) => seen.has(s[0]));
  const start = rounds[0][1], end = Math.max(...rounds.map(([, , over]) => over), start);
  const [scale, unit] = span(end - start), name = (i) => `client ${g.clients[i]}`;
  const parts = [["download", 2, 3, "#56B4E9", "/"], ["compute", 3, 4, "#0072B2", ""],
    ["upload", 4, 5, "#E69F00", "\\"]];
  const traces = [idle(spans, rows, start, end, scale, name)];
  for (const [part, a, b, colour, shape] of parts) {
    const had = spans.filter((s) => s[a] !== null && s[b] !== null);
    traces.push({type: "bar", orientation: "h", name: part, base: had.map((s) => s[a] / scale),
      x: had.map((s) => (s[b] - s[a]) / scale), y: had.map((s) => name(s[0])), width: 0.78,
      marker: {color: colour, line: {color: colour, width: 1},  // seconds of work among hours of waiting are seen
        pattern: {shape, size: 6, solidity: 0.2, fillmode: "overlay", fgcolor: css("--panel")}},
      text: had.map((s) => describe(s, part, s[b] - s[a])), textposition: "none",
      hovertemplate: "%{text}<extra></extra>"});
  }
  const signs = {later: "triangle-right", late: "x", surplus: "cross", lost: "x-thin", busy: "diamond"};
  for (const {name: fate, words, colour: shade} of fates.slice(1)) {
    const bad = spans.filter((s) => s[6] === fate && s.slice(2, 6).some((t) => t !== null));
    if (bad.length) traces.push({type: "scatter", mode: "markers", name: words, cliponaxis: false,
      x: bad.map((s) => s.slice(2, 6).filter((t) => t !== null).pop() / scale), y: bad.map((s) => name(s[0])),
      marker: {symbol: signs[fate], size: 10, color: shade,
        line: fate === "lost" ? {width: 3, color: shade} : {width: 1, color: css("--panel")}},
      hovertemplate: `%{y}: ${words}<extra></extra>`});
  }
  const edges = [...rounds.map(([, asked]) => asked), end].map((t) => t / scale);
  Plotly.react(box, traces, {...common(), barmode: "overlay", margin: {l: 80, r: 14, t: 34, b: 46},
    hovermode: "closest", showlegend: true, legend: above(),
    shapes: edges.map((x) => ({type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, layer: "above",
      line: {color: css("--ink"), width: 1, dash: "dot"}})),
    annotations: few(rounds, 12).map(([r, asked]) => ({x: asked / scale, yref: "paper", y: 0, yanchor: "top",
      yshift: -20, xanchor: "left", showarrow: false, text: `round ${r}`, font: {size: 11, color: css("--soft")}})),
    xaxis: {...plain(), range: [start / scale, (end + 0.02 * (end - start || 1)) / scale], tickformat: ",~g",
      ticksuffix: unit, title: {text: "virtual time", standoff: 20}, nticks: 8},
    yaxis: {...plain(), type: "category", categoryorder: "array", categoryarray: rows.map(name), autorange: "reversed",
      showgrid: false, tickfont: {size: rows.length > 30 ? 10 : 12}}}, config("gantt"));
}

// What is left of the window between a client's spans.
function idle(spans, rows, start, end, scale, name) {
  const gaps = [];
  for (const row of rows) {
    let at = start;
    const busy = spans.filter((s) => s[0] === row && s[2] !== null).sort((a, b) => a[2] - b[2]);
    for (const s of busy) {
      if (s[2] > at) gaps.push([row, at, Math.min(s[2], end)]);
      at = Math.max(at, ...s.slice(2, 6).filter((t) => t !== null));
    }
    if (at < end) gaps.push([row, at, end]);
  }
  return {type: "bar", orientation: "h", name: "idle or away", base: gaps.map(([, a]) => a / scale), width: 0.3,
    x: gaps.map(([, a, b]) => (b - a) / scale), y: gaps.map(([row]) => name(row)), marker: {color: css("--line")},
    hovertemplate: "%{y} is idle or away<extra></extra>"};
}

function describe(s, part, seconds) {
  const [scale, unit] = span(seconds), bytes = part === "upload" ? s[7] : part === "download" ? s[8] : null;
  const size = bytes === null ? "" : `, ${bytes.toLocaleString("en")} B`;
  return `<b>client ${timeline().gantt.clients[s[0]]}</b>, round ${s[1]}<br>${part} ` +
    `${(seconds / scale).toPrecision(3)}${unit}${size}<br>${ending(s[6])}` +
    (s[9] === null ? "" : `<br>${s[9].toPrecision(3)} J in all`);
}

function energy(box) {
  const parts = [["compute", "#0072B2", ""], ["radio", "#E69F00", "/"], ["idle", "#8A8F98", "."]];
  const rows = chosen().flatMap((m) => Object.entries(m.energy || {}).map(([kind, joules]) => ({m, kind, joules})));
  rows.sort((a, b) => a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0);
  const names = [rows.map((r) => escaped(r.kind)), rows.map((r) => escaped(r.m.label))];
  const single = data.methods.filter((m) => m.energy).length < 2;
  const traces = parts.map(([part, colour, shape]) => ({type: "bar", name: part, x: single ? names[0] : names,
    y: rows.map((r) => r.joules[part]), marker: {color: colour,
      pattern: {shape, size: 7, solidity: 0.2, fillmode: "overlay", fgcolor: css("--panel")}},
    hovertemplate: `%{x}<br>${part}: %{y:,.4~g} J<extra></extra>`}));
  Plotly.react(box, traces, {...common(), barmode: "stack", margin: {l: 62, r: 18, t: 34, b: 60}, hovermode: "closest",
    showlegend: true, legend: above(),
    xaxis: {...plain(), showgrid: false, type: single ? "category" : "multicategory", dividercolor: css("--line")},
    yaxis: {...plain(), tickformat: "~s", ticksuffix: "J", rangemode: "tozero"}}, config("energy"));
}

function staleness(box) {
  const seen = chosen().filter((m) => m.staleness);
  const most = Math.max(...seen.map((m) => m.staleness[m.staleness.length - 1][0]), 1);
  const traces = seen.map((m) => {
    const all = m.staleness.reduce((sum, [, n]) => sum + n, 0);
    return {type: "bar", name: escaped(m.label), x: m.staleness.map(([s]) => s), y: m.staleness.map(([, n]) => n / all),
      marker: {color: colour(m)}, customdata: m.staleness.map(([, n]) => n),
      hovertemplate: `<b>${escaped(m.label)}</b><br>%{x} rounds late: %{customdata:,}, %{y:.1%}<extra></extra>`};
  });
  Plotly.react(box, traces, {...common(), barmode: "group", margin: {l: 62, r: 18, t: 14, b: 46}, hovermode: "closest",
    xaxis: {...plain(), showgrid: false, title: {text: "server steps since the model it is of", standoff: 8},
      tickformat: ",d", tick0: 0, dtick: Math.ceil(most / 12)},
    yaxis: {...plain(), tickformat: ".0%", rangemode: "tozero", title: {text: "of used replies", standoff: 8}}},
  config("staleness"));
}

// As many rounds as are shown, earlier or later; over a gap if there is one.
function move(step) {
  const from = document.getElementById("gantt-from"), to = document.getElementById("gantt-to");
  const have = timeline().gantt.rounds.map(([r]) => r), a = have.indexOf(from.valueAsNumber);
  const width = to.valueAsNumber - from.valueAsNumber + 1;
  const at = Math.min(Math.max(a + step * width, 0), have.length - 1);
  from.value = have[at]; to.value = have[at] + width - 1;
  all("[data-gantt]").forEach(gantt);
}

if (document.getElementById("timed")) {
  const pick = () => { all("[data-map]").forEach(participation); all("[data-gantt]").forEach(gantt); };
  document.getElementById("timed").addEventListener("change", pick);
  ["gantt-from", "gantt-to"].forEach((id) => document.getElementById(id)
    .addEventListener("change", () => all("[data-gantt]").forEach(gantt)));
  document.getElementById("gantt-earlier").addEventListener("click", () => move(-1));
  document.getElementById("gantt-later").addEventListener("click", () => move(1));
}
"""

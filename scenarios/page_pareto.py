"""The Pareto front for the page's script. Stands inside its function."""

PARETO = r"""
// On which side of each point its name stands, "" where it would cover something; points in pixels, upwards.
function sidesOf(points, names, width) {
  const taken = points.map(([x, y]) => [x - 7, x + 7, y - 7, y + 7]);
  taken.push([-Infinity, -40, -Infinity, Infinity], [width + 40, Infinity, -Infinity, Infinity]);  // the figure's edges
  const free = ([a, b, c, d]) => taken.every(([e, f, g, h]) => b < e || a > f || d < g || c > h);
  return points.map(([x, y], i) => {
    const wide = 7 * names[i].length + 8, half = wide / 2, places = {
      "middle right": [x + 8, x + 8 + wide, y - 7, y + 7], "middle left": [x - 8 - wide, x - 8, y - 7, y + 7],
      "top center": [x - half, x + half, y + 8, y + 22], "bottom center": [x - half, x + half, y - 22, y - 8]};
    const side = Object.keys(places).find((name) => free(places[name])) || "";
    if (side) taken.push(places[side]);
    return side;
  });
}

// Values on an axis of so many pixels.
function along(values, log, pixels) {
  const at = values.map((v) => (log ? Math.log10(v) : v)), low = Math.min(...at);
  return at.map((v) => pixels * (v - low) / (Math.max(...at) - low || 1));
}

// A range with room for names above and below.
function padded(values, log) {
  const at = values.map((v) => (log ? Math.log10(v) : v)).filter(Number.isFinite);
  const low = Math.min(...at), high = Math.max(...at), pad = 0.15 * (high - low) || 0.02 * Math.abs(high) || 1;
  return at.length ? {range: [low - pad, high + pad]} : {};
}

// What methods came to; the front is that of the two axes and the methods shown.
function pareto(box) {
  const x = picked("pareto-x", box.dataset.x), y = picked("pareto-y", box.dataset.reached);
  const share = y === "test_accuracy", logY = y === "grad_norm_sq", bytes = x.endsWith("bytes");
  const rows = chosen().filter((m) => m.point && m.point[x] !== null && m.point[y] !== null)
    .map((m) => ({m, cost: m.point[x], got: m.point[y], least: share ? -m.point[y] : m.point[y]}));
  for (const a of rows) a.beaten = rows.some((b) => b.cost <= a.cost && b.least <= a.least
    && (b.cost < a.cost || b.least < a.least));
  const front = rows.filter((row) => !row.beaten).sort((a, b) => a.cost - b.cost);
  const costs = rows.map((row) => row.cost), most = Math.max(...costs, 0), logX = most > 20 * Math.min(...costs);
  const [scale, suffix] = bytes ? [1, "B"] : span(most), names = rows.map((row) => ` ${row.m.label} `);
  const up = along(rows.map((row) => row.got), logY, 0.6 * box.clientHeight);
  const width = 0.9 * box.clientWidth;
  const sides = sidesOf(along(costs, logX, width).map((v, i) => [v, up[i]]), names, width);
  const traces = [{type: "scatter", mode: "lines", hoverinfo: "skip", x: front.map((row) => row.cost / scale),
    y: front.map((row) => row.got), line: {color: css("--soft"), width: 1.5, dash: "dot", shape: "hv"}}];
  rows.forEach(({m, cost, got, beaten}, i) => traces.push({type: "scatter", name: escaped(m.label), cliponaxis: false,
    mode: sides[i] ? "markers+text" : "markers", x: [cost / scale], y: [got], text: [escaped(names[i])],
    textposition: sides[i] || "top center", textfont: {size: 12, color: css("--soft")},
    marker: {size: 12, color: colour(m), symbol: m.style.symbol + (beaten ? "-open" : ""), line: {width: 2}},
    hovertemplate: `<b>${escaped(m.label)}</b>${beaten ? "" : ", on the front"}<br>` +
      `%{y:${share ? ".1%" : ".4~g"}} for %{x:${bytes ? "~s" : ",.4~g"}}${suffix}<extra></extra>`}));
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 40, t: 30, b: 46}, hovermode: "closest",
    xaxis: {...plain(), type: logX ? "log" : "linear", title: {text: axes[x].title, standoff: 8}, showline: true,
      tickformat: bytes ? "~s" : ",~g", ticksuffix: suffix, ...(logX ? {dtick: 1} : {nticks: 8})},
    yaxis: {...plain(), type: logY ? "log" : "linear", tickformat: share ? ".1~%" : "", nticks: 8,
      exponentformat: "power", ...padded(rows.map((row) => row.got), logY)}}, config("pareto"));
}
"""

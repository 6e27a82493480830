"""More figures for the page's script: costs of targets, Pareto front, shadows. Stands inside its function."""

PLOTS = r"""
// What was paid against the target: a step at every level that was reached, harder targets to the right.
function goals(box) {
  const key = box.dataset.goal, at = Number(box.dataset.at), rising = Boolean(box.dataset.rising);
  const cost = axes[picked("goal-cost", "uplink_bytes")], paidBy = cost.key;
  const line = {gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true,
    exponentformat: "power"};
  const most = Math.max(...chosen().flatMap((m) => m.targets[key][paidBy].filter((v) => v !== null)), 0);
  const [scale, suffix] = paidBy.endsWith("seconds") ? span(most) : [1, "B"];
  const traces = chosen().map((m) => {
    const {levels, [paidBy]: paid} = m.targets[key], keep = levels.map((v, i) => v > 0 && paid[i] > 0);
    return {type: "scatter", mode: "lines", name: escaped(m.label),
      x: levels.filter((_, i) => keep[i]), y: paid.filter((_, i) => keep[i]).map((v) => v / scale),
      line: {color: colour(m), dash: m.style.dash, width: 2.2, shape: "vh"},
      hovertemplate: `<b>${escaped(m.label)}</b><br>%{x:${box.dataset.hover}} for ` +
        `%{y:${cost.format || ",.4~g"}}${suffix}<extra></extra>`};
  });
  const mark = at > 0 ? {shapes: [{type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1,
      line: {color: css("--soft"), width: 1.5, dash: "dot"}}],
    annotations: [{x: Math.log10(at), yref: "paper", y: 1, yanchor: "bottom", showarrow: false,
      text: "uncompressed, within 5 %", font: {size: 12, color: css("--soft")}}]} : {};
  Plotly.react(box, traces, {...common(), ...mark, margin: {l: 62, r: 18, t: 30, b: 46}, hovermode: "closest",
    xaxis: {...line, ...(rising ? {tickformat: ".1~%"} : {type: "log", autorange: "reversed"}),
      title: {text: "target", standoff: 8}, showline: true},
    yaxis: {...line, type: "log", tickformat: cost.format || "~g", ticksuffix: suffix, dtick: 1,
      title: {text: cost.title, standoff: 8}}}, config(`cost-of-${key}`));
}

// What methods came to; the front is that of the two axes and the methods shown.
function pareto(box) {
  const x = picked("pareto-x", box.dataset.x), y = picked("pareto-y", box.dataset.reached);
  const rising = y === "test_accuracy";
  const rows = chosen().filter((m) => m.point && m.point[x] !== null && m.point[y] !== null);
  const worse = (a, b) => rising ? m2(b) - m2(a) : m2(a) - m2(b), m1 = (m) => m.point[x], m2 = (m) => m.point[y];
  const beaten = (a) => rows.some((b) => m1(b) <= m1(a) && worse(b, a) <= 0 && (m1(b) < m1(a) || worse(b, a) < 0));
  const front = rows.filter((m) => !beaten(m)).sort((a, b) => m1(a) - m1(b) || m2(a) - m2(b));
  const named = rows.length <= 14;
  const [scale, suffix] = x.endsWith("seconds") ? span(Math.max(...rows.map(m1), 0)) : [1, "B"];
  const bytes = x.endsWith("bytes"), spread = rows.length && Math.max(...rows.map(m1)) > 20 * Math.min(...rows.map(m1));
  const traces = [{type: "scatter", mode: "lines", hoverinfo: "skip", x: front.map((m) => m1(m) / scale),
    y: front.map(m2), line: {color: css("--soft"), width: 1.5, dash: "dot", shape: "hv"}}];
  for (const m of rows) traces.push({type: "scatter", mode: named ? "markers+text" : "markers", name: escaped(m.label),
    x: [m1(m) / scale], y: [m2(m)], text: [escaped(m.label)], textposition: "top center", cliponaxis: false,
    textfont: {size: 12, color: css("--soft")},
    marker: {size: 12, color: colour(m), symbol: m.style.symbol + (beaten(m) ? "-open" : ""), line: {width: 2}},
    hovertemplate: `<b>${escaped(m.label)}</b>${beaten(m) ? "" : ", on the front"}<br>` +
      `%{y:${rising ? ".1%" : ".4~g"}} for %{x:${bytes ? "~s" : ",.4~g"}}${suffix}<extra></extra>`});
  const heights = rows.map(m2).map((v) => (y === "grad_norm_sq" ? Math.log10(v) : v)).filter(Number.isFinite);
  const low = Math.min(...heights), high = Math.max(...heights);
  const pad = 0.15 * (high - low) || 0.02 * Math.abs(high) || 1;
  const around = heights.length ? [low - pad, high + pad] : null;
  const line = {gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true};
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 40, t: 30, b: 46}, hovermode: "closest",
    xaxis: {...line, type: spread ? "log" : "linear", title: {text: axes[x].title, standoff: 8}, showline: true,
      tickformat: bytes ? "~s" : ",~g", ticksuffix: suffix, ...(spread ? {dtick: 1} : {nticks: 8})},
    yaxis: {...line, type: y === "grad_norm_sq" ? "log" : "linear", tickformat: rising ? ".1~%" : "", nticks: 8,
      exponentformat: "power", ...(around ? {range: around} : {})}}, config("pareto"));
}

function shadows(box) {
  const line = {gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true};
  const seen = data.shadows || [], named = seen.reduce((sum, s) => sum + s.length, 0) <= 24;
  const traces = chosen().map((m) => {
    const told = seen[data.methods.indexOf(m)] || [];
    const rows = told.filter((s) => s.bytes !== null && s.kept !== null && s.kept >= 0);
    return {type: "scatter", mode: named ? "markers+text" : "markers", name: escaped(m.label), cliponaxis: false,
      x: rows.map((s) => s.bytes), y: rows.map((s) => s.kept), text: rows.map((s) => escaped(s.shadow)),
      textposition: "top center", textfont: {size: 12, color: css("--soft")},
      marker: {color: colour(m), size: 10,
        symbol: rows.map((s) => m.style.symbol + (s.shadow === "own" ? "" : "-open"))},
      hovertemplate: `<b>%{text}</b><br>on ${escaped(m.label)}<br>%{y:.1%} for %{x:,.4~g} B<extra></extra>`};
  });
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 30, t: 30, b: 46}, hovermode: "closest",
    xaxis: {...line, type: "log", title: {text: "bytes of a message", standoff: 8}, tickformat: "~s", ticksuffix: "B",
      dtick: 1, showline: true},
    yaxis: {...line, range: [0, 1.08], tickformat: ".0%"}}, config("shadows"));
}
"""

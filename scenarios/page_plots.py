"""More figures for the page's script: what targets cost, and shadow compressors. Stands inside its function."""

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
    annotations: [{x: Math.log10(at), yref: "paper", y: 1, yanchor: "bottom", xanchor: "right", showarrow: false,
      text: "uncompressed, within 5 %", font: {size: 12, color: css("--soft")}}]} : {};
  Plotly.react(box, traces, {...common(), ...mark, margin: {l: 62, r: 18, t: 30, b: 46}, hovermode: "closest",
    xaxis: {...line, ...(rising ? {tickformat: ".1~%"} : {type: "log", autorange: "reversed"}),
      title: {text: "target", standoff: 8}, showline: true},
    yaxis: {...line, type: "log", tickformat: cost.format || "~g", ticksuffix: suffix, dtick: 1,
      title: {text: cost.title, standoff: 8}}}, config(`cost-of-${key}`));
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

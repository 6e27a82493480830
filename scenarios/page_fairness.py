"""Figures on fairness for the page's script: over clients, and by participation. Stands inside its function."""

FAIRNESS = r"""
const measures = Object.fromEntries((data.measures || []).map(([key, name], i) => [key, [4 + i, name]]));

function quantiles(box) {
  const key = picked("fairness", box.dataset.quantiles), share = key !== "loss";
  const traces = chosen().filter((m) => m.fairness && m.fairness.quantiles[key]).map((m) => {
    const y = m.fairness.quantiles[key], last = y.length - 1;
    return {type: "scatter", mode: "lines", name: escaped(m.label), x: y.map((_, i) => i / last), y,
      line: {color: colour(m), dash: m.style.dash, width: 2.2, shape: "spline", smoothing: 0},
      hovertemplate: `<b>${escaped(m.label)}</b><br>%{x:.0%} of clients are at or below ` +
        `%{y:${share ? ".1%" : ".4~g"}}<extra></extra>`};
  });
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 18, t: 26, b: 46}, hovermode: "closest",
    xaxis: {...plain(), title: {text: "share of clients", standoff: 8}, tickformat: ".0%", range: [0, 1]},
    yaxis: {...plain(), tickformat: share ? ".1~%" : "", title: {text: measures[key][1], standoff: 8}}},
  config(`${key}-over-clients`));
}

function served(box) {
  const key = picked("fairness", box.dataset.served), [at, title] = measures[key], share = key !== "loss";
  const traces = chosen().filter((m) => m.fairness).map((m) => {
    const rows = m.fairness.clients.filter((row) => row[at] !== null);
    return {type: "scatter", mode: "markers", name: escaped(m.label), x: rows.map((row) => row[1]),
      y: rows.map((row) => row[at]), marker: {color: colour(m), symbol: m.style.symbol, size: 7, opacity: 0.75},
      text: rows.map((row) => `client ${row[0]}${row[3] ? ", " + escaped(row[3]) : ""}, ${row[2]} samples`),
      hovertemplate: `<b>${escaped(m.label)}</b><br>%{text}<br>used %{x:,} times, ` +
        `%{y:${share ? ".1%" : ".4~g"}}<extra></extra>`};
  });
  Plotly.react(box, traces, {...common(), margin: {l: 62, r: 18, t: 26, b: 46}, hovermode: "closest",
    xaxis: {...plain(), title: {text: "replies that were used", standoff: 8}, rangemode: "tozero", tickformat: ",d"},
    yaxis: {...plain(), tickformat: share ? ".1~%" : "", title: {text: title, standoff: 8}}}, config(`${key}-by-use`));
}
"""

"""The page's looks. Kept in Python because a Flower bundle carries no .css file."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a6572; --line: #dfe3e8; --grid: #e9ecef;
  --page: #f6f7f9; --panel: #ffffff; --accent: #0063a0; --warn: #a34400; --warn-bg: #fff4ea;
  --good: #00694d;
  --h0: #ffffff; --h1: #9ccdf0; --h2: #0072b2; --h3: #05283f; --shadow: 0 1px 2px rgb(20 30 40 / .06); }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a2acb8; --line: #333a42;
  --grid: #2a3037; --page: #121518; --panel: #1a1e23; --accent: #6cbcf0; --warn: #ffb27a; --warn-bg: #2c2119;
  --good: #4fd1a5; --h0: #1a1e23; --h1: #0b4a72; --h2: #56b4e9; --h3: #f3faff; --shadow: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 10rem; } /* not under .controls */
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main, header.top, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.5rem; }
header.top { padding-top: 2.75rem; }
.eyebrow { margin: 0; color: var(--soft); font-size: .8rem; letter-spacing: .08em;
  text-transform: uppercase; }
h1 { margin: .2rem 0 .5rem; font-size: clamp(1.7rem, 4vw, 2.4rem); line-height: 1.15; letter-spacing: -.015em;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 .3rem; font-size: 1.3rem; letter-spacing: -.01em; }
h3 { margin: 1.4rem 0 .5rem; font-size: 1rem; }
.lede { max-width: 46rem; margin: 0 0 .9rem; font-size: 1.15rem; }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0; padding: 0; list-style: none; }
.chips li { padding: .1rem .65rem; border: 1px solid var(--line); border-radius: 99px;
  background: var(--panel); color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
section { margin: 2.6rem 0; }
section > p, .hint { max-width: 46rem; margin: 0 0 1rem; color: var(--soft); font-size: .95rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1rem;
  margin: 1.8rem 0 0; }
.card, figure, .controls, .scroll, .code, .notices { background: var(--panel); border: 1px solid var(--line);
  border-radius: 10px; box-shadow: var(--shadow); }
.card { padding: 1rem 1.2rem; }
.card p { margin: 0; }
.card .figure { color: var(--accent); font-size: 2rem; font-weight: 650; line-height: 1.15;
  letter-spacing: -.02em; }
.card .what { font-weight: 600; }
.card .detail { color: var(--soft); font-size: .88rem; overflow-wrap: anywhere; }
.notices { margin: 1.5rem 0 0; padding: .9rem 1.2rem; border-color: var(--warn); background: var(--warn-bg); }
.notices h2 { color: var(--warn); font-size: 1rem; }
.notices ul { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.controls { position: sticky; top: 0; z-index: 5; display: flex; flex-wrap: wrap; gap: .5rem 1.4rem;
  align-items: center; padding: .6rem .9rem; margin-bottom: 1rem; font-size: .9rem; }
.controls fieldset { display: flex; flex-wrap: wrap; align-items: center; gap: 0; margin: 0; padding: 0; border: 0; }
.controls legend { float: left; padding: 0 .6rem 0 0; color: var(--soft); }
.choices { display: flex; flex-wrap: wrap; gap: .5rem 1.4rem; align-items: center; margin: 0 0 1rem; }
.choice { display: flex; flex-wrap: wrap; align-items: center; gap: 0; margin: 0 0 1rem; padding: 0; border: 0;
  font-size: .9rem; } .choices .choice { margin: 0; }
.choice legend { float: left; padding: 0 .6rem 0 0; color: var(--soft); } label.choice { gap: .6rem; }
select, .range input, .range button { padding: .2rem .5rem; border: 1px solid var(--line); border-radius: 7px;
  background: var(--panel); color: inherit; font: inherit; } .range input { width: 6.5em; }
.range { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; margin: .5rem 0 0; font-size: .9rem; }
.range button { cursor: pointer; } .range button:hover { border-color: var(--accent); } .range .hint { margin: 0; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .4rem 0 0; padding: 0; list-style: none;
  color: var(--soft); font-size: .85rem; }
.key[hidden] { display: none; }
.cell { display: inline-block; width: 1.15em; height: 1.15em; margin-right: .4em; border-radius: 3px; color: #fff;
  line-height: 1.15em; text-align: center; vertical-align: -.2em; overflow: hidden; }
.segment { position: relative; }
.segment input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: pointer; }
.segment span { display: block; padding: .25rem .75rem; border: 1px solid var(--line); margin-left: -1px; }
.segment:first-of-type span { border-radius: 7px 0 0 7px; }
.segment:last-of-type span { border-radius: 0 7px 7px 0; }
.segment input:checked + span { background: var(--accent); border-color: var(--accent); color: var(--panel);
  font-weight: 600; }
.check { display: flex; gap: .4rem; align-items: center; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem; flex-basis: 100%; max-height: 9.5rem; overflow: auto; }
.legend button { display: inline-flex; align-items: center; gap: .45rem; padding: .2rem .6rem;
  border: 1px solid var(--line); border-radius: 7px; background: none; color: inherit; font: inherit;
  cursor: pointer; text-align: left; overflow-wrap: anywhere; }
.legend button:hover { border-color: var(--accent); }
.legend button[aria-pressed=false] { opacity: .45; text-decoration: line-through; }
.legend small { color: var(--warn); }
:focus-visible, .segment input:focus-visible + span { outline: 3px solid var(--accent); outline-offset: 2px; }
.swatch { flex: none; vertical-align: -2px; color: var(--ink); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem;
  margin-bottom: 1rem; }
figure { margin: 0 0 1rem; padding: .9rem .6rem .3rem; min-width: 0; }
.figures figure { margin: 0; }
figcaption { padding: 0 .6rem; } figcaption h3 { margin: 0; }
figcaption p { margin: 0; color: var(--soft); font-size: .85rem; }
.plot { height: 21rem; } .plot.tall { height: 34rem; }
.scroll { overflow-x: auto; margin-bottom: 1rem; background:
  linear-gradient(to left, var(--panel) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / 1.2rem 100% no-repeat scroll, var(--panel); }
table { width: 100%; border-collapse: collapse; font-size: .88rem; }
caption { padding: .7rem 1rem .2rem; text-align: left; font-weight: 600; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; } tbody tr:hover > * { background: var(--page); }
thead th { color: var(--soft); font-weight: 500; }
thead th:first-child, tbody th, .text { text-align: left; }
tbody th { position: sticky; left: 0; background: var(--panel); font-weight: 600; }
tbody th .swatch { margin-right: .5rem; }
.facts td.text { white-space: normal; overflow-wrap: anywhere; }
td.best { color: var(--good); font-weight: 700; } .is-diverged td { color: var(--soft); }
.status.diverged, .status.failed { color: var(--warn); font-weight: 700; }
.status.interrupted { color: var(--warn); }
.code { position: relative; margin-bottom: 1rem; }
pre { margin: 0; padding: .9rem 5.5rem .9rem 1.1rem; overflow: auto; max-height: 32rem;
  font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
.copy { position: absolute; top: .55rem; right: .55rem; padding: .2rem .7rem; border: 1px solid var(--line);
  border-radius: 6px; background: var(--page); color: inherit; font: inherit; font-size: .82rem;
  cursor: pointer; }
details { margin: .8rem 0; } summary { cursor: pointer; padding: .3rem 0; font-weight: 600; }
footer { padding-top: 1rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { .controls { position: static; } main, header.top, footer { padding-left: 1rem;
  padding-right: 1rem; } tbody th { position: static; } .plot { height: 18rem; } }
@media print { .controls, .copy, .choice, .range { display: none !important; } .scroll { overflow: visible; }
  figure, .card, tr { break-inside: avoid; } }
"""

"""The style sheet of the page: light and dark, screen and paper, nothing loaded from elsewhere."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f24; --soft: #59626e; --line: #dfe3e8;
  --accent: #0b62a8; --warn: #fff6e5; --warn-line: #d99a1c;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --ink: #e5e8ec; --soft: #9aa4b0; --line: #30363e;
    --accent: #6cb4f0; --warn: #2b2414; --warn-line: #b98a2a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--sans); }
main { max-width: 1184px; margin: 0 auto; padding: 56px 32px 96px; }
header { border-bottom: 1px solid var(--line); padding-bottom: 24px; }
.kicker { margin: 0 0 4px; color: var(--soft); font-size: 13px; font-weight: 600; letter-spacing: .04em; }
h1 { margin: 0; font-size: 32px; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { margin: 56px 0 16px; font-size: 21px; line-height: 1.3; letter-spacing: -.01em; }
h3 { margin: 40px 0 4px; font-size: 16px; line-height: 1.4; }
h2 + h3 { margin-top: 0; }
p { margin: 0 0 12px; }
.reading { max-width: 76ch; color: var(--soft); font-size: 14.5px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 16px; font-size: 14.5px; }
code, pre, .setting { font-family: var(--mono); font-size: 13px; }

.runs { list-style: none; margin: 24px 0 0; padding: 0; display: grid; gap: 14px; }
.runs li { display: grid; grid-template-columns: 26px 1fr; column-gap: 12px; }
.runs p { margin: 0; max-width: 90ch; overflow-wrap: anywhere; }
.runs .swatch { margin-top: 7px; }
.tag {
  display: inline-block; padding: 0 8px; border: 1px solid var(--warn-line); border-radius: 10px;
  background: var(--warn); font-size: 12px; font-weight: 600; line-height: 18px; vertical-align: 1px;
}
.swatch { flex: none; vertical-align: middle; }

.warnings {
  margin: 24px 0 0; padding: 14px 20px; border-left: 3px solid var(--warn-line); border-radius: 0 6px 6px 0;
  background: var(--warn); font-size: 14.5px;
}
.warnings h2 { margin: 0 0 6px; font-size: 15px; letter-spacing: 0; }
.warnings ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
.warnings li { margin: 2px 0; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: 9px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th {
  border-bottom-color: var(--soft); color: var(--soft); font-size: 12.5px; font-weight: 600; line-height: 1.3;
  vertical-align: bottom;
}
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
.where { display: block; white-space: nowrap; color: var(--soft); font-size: 12px; }
.comparison { font-size: 13.5px; }
.comparison th, .comparison td { padding-left: 5px; padding-right: 5px; }
.named { display: flex; align-items: baseline; gap: 10px; overflow-wrap: break-word; }
.named .swatch { position: relative; top: 1px; }
.key { font-family: var(--mono); font-size: 13px; font-weight: 400; white-space: nowrap; }
.confusion { width: auto; }
.confusion th, .confusion td { padding: 4px 8px; }
.confusion .none { color: var(--line); }
.notes { margin: 16px 0 0; padding-left: 18px; max-width: 76ch; color: var(--soft); font-size: 14.5px; }
.notes li { margin: 4px 0; }

figure { margin: 12px 0 0; }
figure svg { display: block; max-width: 100%; height: auto; }

details { border-bottom: 1px solid var(--line); }
details:first-of-type { border-top: 1px solid var(--line); }
summary { padding: 10px 0; font-weight: 600; cursor: pointer; overflow-wrap: anywhere; }
summary .swatch { margin: -2px 10px 0 6px; }
summary span { margin-left: 8px; color: var(--soft); font-size: 14px; font-weight: 400; }
.configuration {
  columns: 3 260px; column-gap: 40px; margin: 4px 0 20px; padding: 0 0 0 22px; font: 13px/1.6 var(--mono);
}
.configuration section { break-inside: avoid; margin-bottom: 14px; }
.configuration h4 { margin: 0; color: var(--soft); font: inherit; }
.configuration p { margin: 0; overflow-wrap: anywhere; }

.provenance { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0 0 28px; font-size: 14px; }
.provenance dt { color: var(--soft); }
.provenance dd { margin: 0; overflow-wrap: anywhere; }
#origins h3 { margin: 20px 0 8px; }
.citations { margin: 0; padding-left: 20px; max-width: 90ch; font-size: 14.5px; }
.citations li { margin: 6px 0; white-space: pre-line; overflow-wrap: anywhere; }

@media screen and (max-width: 760px) {
  main { padding: 28px 18px 64px; }
  h1 { font-size: 26px; }
  figure { overflow-x: auto; }
  figure svg { max-width: none; }
}
@media print {
  :root {
    color-scheme: light; --page: #ffffff; --ink: #000000; --soft: #444444; --line: #c8c8c8;
    --accent: #000000; --warn: #ffffff; --warn-line: #888888;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  h2, h3, .reading { break-after: avoid; }
  figure, tr, .reading, .runs li, .warnings { break-inside: avoid; }
  .scroll { overflow: visible; }
  .comparison { font-size: 8pt; }
  .comparison thead th, .comparison .where { font-size: 7.5pt; }
  .comparison th, .comparison td { padding: 5px 6px; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""

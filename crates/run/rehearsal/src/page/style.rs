//! The look of every report: one sheet, two themes.
//!
//! Invariant (tested): text has a contrast of at least 4.5 to its ground, lines and bars of at
//! least 3, in both themes.

/// The whole sheet.
pub(super) const STYLE: &str = r#"
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#ffffff;--ink:#16191d;--soft:#59616c;--edge:#d9dde3;--rule:#e6e9ed;
--good:#0d6b3d;--good-ground:#e4f4ea;--warning:#835000;--warning-ground:#fbf0d9;--bad:#b3261e;--bad-ground:#fbe7e5;
--l0:#1f66c1;--l1:#b4540a;--l2:#0b7a62;--l3:#7747c9;--l4:#b8326f;--l5:#5f6b12;--l6:#0f7391;--l7:#5b6470}
@media (prefers-color-scheme:dark){:root{--ground:#111418;--card:#1a1e24;--ink:#e9ecf0;--soft:#a4adb9;--edge:#333a44;--rule:#2a3038;
--good:#6fd39b;--good-ground:#14301f;--warning:#f0bf62;--warning-ground:#352810;--bad:#ff9086;--bad-ground:#401a17;
--l0:#6fabf5;--l1:#ee9a55;--l2:#48c5a7;--l3:#b79bf5;--l4:#f087b5;--l5:#bfca54;--l6:#56bfdf;--l7:#a4adb9}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:78rem;margin:0 auto;padding:2rem 1.25rem 4rem}
header{margin-bottom:1.25rem}
h1{font-size:1.6rem;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.25rem 0 .75rem}
h3{font-size:.95rem;margin:0 0 .5rem}
p{margin:0 0 .6rem;max-width:46rem}
.subtitle{color:var(--soft);margin:.25rem 0 0;overflow-wrap:anywhere}
.banner{border:1px solid;border-left-width:6px;border-radius:8px;padding:.8rem 1rem;margin:0 0 1rem}
.banner p{font-size:1.1rem;font-weight:650;margin:0;max-width:none}
.banner ul{margin:.35rem 0 0;padding-left:1.2rem;color:var(--ink)}
.banner.good{color:var(--good);background:var(--good-ground)}
.banner.warning{color:var(--warning);background:var(--warning-ground)}
.banner.bad{color:var(--bad);background:var(--bad-ground)}
.banner.plain{background:var(--card)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:0}
.tile{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:.65rem .85rem}
.tile dt{color:var(--soft);font-size:.82rem}
.tile dd{margin:0}
.tile .value{font-size:1.45rem;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tile .note{color:var(--soft);font-size:.82rem;overflow-wrap:anywhere}
.tile.good .value{color:var(--good)}.tile.warning .value{color:var(--warning)}.tile.bad .value{color:var(--bad)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr));gap:1rem;align-items:start}
.cards{grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr))}
.stacked{display:grid;gap:1rem;min-width:0}
.wide{grid-column:1/-1;min-width:0}
figure,.part{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:.9rem 1rem;min-width:0}
figcaption{font-weight:650;font-size:.95rem;margin-bottom:.35rem}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;margin:0 0 .25rem;padding:0;color:var(--soft);font-size:.85rem}
.legend svg{width:28px;height:8px;margin-right:.4rem;vertical-align:middle}
.plot{overflow-x:auto}
.plot svg{display:block;width:100%;min-width:28rem;height:auto}
.line{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.l0{stroke:var(--l0);color:var(--l0)}.l1{stroke:var(--l1);color:var(--l1)}.l2{stroke:var(--l2);color:var(--l2)}.l3{stroke:var(--l3);color:var(--l3)}
.l4{stroke:var(--l4);color:var(--l4)}.l5{stroke:var(--l5);color:var(--l5)}.l6{stroke:var(--l6);color:var(--l6)}.l7{stroke:var(--l7);color:var(--l7)}
.line.bad{stroke:var(--bad);color:var(--bad)}
.line.area{fill:currentColor;fill-opacity:.12;stroke:none}
.rule{stroke:var(--rule);stroke-width:1;fill:none}
.tick,.axis{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}
.end{text-anchor:end}.middle{text-anchor:middle}
.reading{fill:var(--ink);fill-opacity:0}
.reading:hover{fill-opacity:.08}
details{margin-top:.5rem;font-size:.88rem}
summary{cursor:pointer;color:var(--soft)}
summary:hover{color:var(--ink)}
.scroll{overflow:auto;max-height:24rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88rem}
.part table,.wide>.scroll>table{width:100%}
caption{text-align:left;color:var(--soft);padding:.35rem 0}
th,td{padding:.28rem .9rem .28rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
thead th{color:var(--soft);font-weight:550;position:sticky;top:0;background:var(--card)}
tbody th{font-weight:550;overflow-wrap:anywhere}
.number{text-align:right;white-space:nowrap}
span.good{color:var(--good)}span.warning{color:var(--warning)}span.bad{color:var(--bad)}
.bars{width:100%}
.bars th{width:1%;white-space:nowrap;max-width:16rem;overflow:hidden;text-overflow:ellipsis}
.bars .track{width:99%;vertical-align:middle}
.bars .note{color:var(--soft);white-space:nowrap}
.bar{display:block;height:.8rem;min-width:2px;border-radius:2px;background:var(--l0)}
.bar.good{background:var(--l2)}.bar.warning{background:var(--warning)}.bar.bad{background:var(--bad)}
pre{overflow:auto;max-height:24rem;background:var(--ground);border:1px solid var(--edge);border-radius:6px;padding:.6rem .8rem;margin:0;font-size:.82rem}
:focus-visible{outline:2px solid var(--l0);outline-offset:2px}
@media print{body{background:#fff}.plot svg{min-width:0}figure,.part,.tile{break-inside:avoid}}
"#;

//! What drills add to the look of every report.
//!
//! Invariant (tested): text has a contrast of at least 4.5 to its ground, and areas that touch
//! and mean different things differ by at least 3, or by what is written in them.

/// The sheet, in both themes.
pub(super) const STYLE: &str = r#"
:root{--band:#eef1f4;--well:#bcd9e4;--lost:#b8202e;--event:#16191d;--on-event:#ffffff;
--f1:#d3dde6;--f2:#9fb6c9;--f3:#5c84a6;--f4:#102f4c;
--s0:#2b6cb0;--s1:#8fc1e3;--s2:#0b7a62;--s3:#8fd3b6;--s4:#7747c9;--s5:#cbb4f0;--s6:#8a6d3b;--s7:#dcc9a0}
@media (prefers-color-scheme:dark){:root{--band:#232931;--well:#2b5160;--lost:#ff7a6e;--event:#f2f4f7;--on-event:#111418;
--f1:#33414d;--f2:#4c6d85;--f3:#7aa9cc;--f4:#e4f2ff;
--s0:#5b9be0;--s1:#27537f;--s2:#3fb897;--s3:#1c5b49;--s4:#a98bf0;--s5:#4d3a80;--s6:#c7a566;--s7:#5f4d2a}}
main{max-width:86rem}
h2 code{font:500 .8rem ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--soft);margin-left:.7rem}
.index{display:inline-block;min-width:1.55em;height:1.55em;line-height:1.55em;margin-right:.55em;padding:0 .3em;text-align:center;border-radius:6px;background:var(--ink);color:var(--ground);font-size:.85em;font-weight:650}
.chip{display:inline-block;margin-left:.5em;padding:0 .5em;border:1px solid var(--edge);border-radius:99px;color:var(--soft);font-size:.72rem;font-weight:500;line-height:1.45rem;vertical-align:.08em;white-space:nowrap}
.chip.on{border-color:var(--l0);color:var(--l0)}
.door{font-weight:650;white-space:nowrap}
.big{display:block;font-size:1.35rem;font-weight:650;line-height:1.3;letter-spacing:-.01em;font-variant-numeric:tabular-nums;white-space:nowrap}
.counts{display:block;font-size:.76rem;line-height:1.4}
.counts span{white-space:nowrap;margin-right:.35em}
.words{display:block;color:var(--soft);font-size:.74rem;line-height:1.35;font-weight:400}
.board-scroll{overflow-x:auto;background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:1rem 1.1rem;margin:0 0 .6rem}
.matrix{width:100%;min-width:56rem;font-size:.9rem;table-layout:fixed}
.matrix caption{padding-top:0}
.matrix th,.matrix td{padding:.55rem .9rem .55rem 0;border-bottom:1px solid var(--rule)}
.matrix tbody tr:last-child>*{border-bottom:0}
.matrix thead th{position:static;color:var(--ink);white-space:nowrap;vertical-align:bottom}
.matrix thead th:first-child{width:14rem}
.matrix tbody th{font-weight:600;line-height:1.35}
.matrix a{color:inherit;text-decoration:none;display:flex;align-items:baseline}
.matrix a:hover{text-decoration:underline}
.matrix td.decides,.aligned td.decides{background:color-mix(in srgb,var(--l0) 7%,transparent)}
.matrix td{padding-left:.6rem}.matrix thead th:not(:first-child){padding-left:.6rem}
.meter{display:block;height:6px;max-width:11rem;margin:.1rem 0 .3rem;border-radius:3px;background:var(--well);overflow:hidden}
.meter i{display:block;height:100%;margin-left:auto;background:var(--lost)}
.drill{margin-top:3rem}
.drill h2{font-size:1.3rem;margin:0 0 .8rem;line-height:1.35}
.story{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:.4rem 2.5rem;margin-bottom:.9rem;font-size:.92rem}
.happenings{list-style:none;margin:0;padding:0}
.happenings li{display:grid;grid-template-columns:1.4rem 2.8rem 1fr;gap:.5rem;align-items:baseline;padding:.14rem 0}
.at{color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap}
.happenings .at{text-align:right}
.mark{display:inline-block;width:1.3rem;height:1.3rem;line-height:1.3rem;border-radius:50%;background:var(--event);color:var(--on-event);text-align:center;font-size:.72rem;font-weight:650;stroke:none}
.mark.undone{width:.6rem;height:.6rem;margin-left:.35rem;background:none;border:2px solid var(--soft)}
th .mark{margin-right:.5em}
.board{display:grid;grid-template-columns:190px repeat(var(--columns),var(--width));column-gap:14px;width:max-content}
.head{padding:.1rem .5rem .45rem;border-top:3px solid var(--edge)}
.head.decides{border-top-color:var(--l0)}
.head .big{font-size:1.55rem}
.head .door{font-size:1rem}
.corner{align-self:end;text-align:right;color:var(--soft);font-size:.76rem;line-height:1.35;padding:0 .2rem .55rem 0}
.repeated{font-size:.76rem;color:var(--soft)}
.repeated.bad{color:var(--bad)}
.labels{position:relative}
.label{position:absolute;left:0;right:0}
.label .name{display:block;font-size:.82rem;font-weight:600;line-height:1.25}
.label .words{font-size:.7rem;line-height:1.25;max-height:2.5em;overflow:hidden;display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical}
.label .what{position:absolute;right:.2rem;color:var(--soft);font-size:.72rem}
.label .tick{position:absolute;right:.2rem;color:var(--soft);font-size:.68rem;line-height:1;transform:translateY(-50%);font-variant-numeric:tabular-nums}
.label .server{position:absolute;right:.2rem;top:0;font-size:.7rem;line-height:12px;white-space:nowrap;max-width:3.6rem;overflow:hidden;text-overflow:ellipsis}
.label .key{position:absolute;left:0;top:-2px;white-space:nowrap}
.label .key .words{max-height:none;display:block;margin-top:.1rem}
.swatch{display:inline-block;width:.75rem;height:.75rem;border-radius:2px;margin-right:.4rem;vertical-align:-.08em}
.swatch.line{height:0;border-top:3px solid currentColor;border-radius:0;vertical-align:.25em}
.server .swatch{margin:0 0 0 .35rem;width:.6rem;height:.6rem;vertical-align:-.05em}
.swatch.s0{background:var(--s0)}.swatch.s1{background:var(--s1)}.swatch.s2{background:var(--s2)}.swatch.s3{background:var(--s3)}
.swatch.s4{background:var(--s4)}.swatch.s5{background:var(--s5)}.swatch.s6{background:var(--s6)}.swatch.s7{background:var(--s7)}
.ramp i{display:inline-block;width:.8rem;height:.55rem;vertical-align:-.02em;margin:0 1px}
.ramp i.full1{background:var(--f1);margin-left:.35rem}.ramp i.full2{background:var(--f2)}.ramp i.full3{background:var(--f3)}.ramp i.full4{background:var(--f4);margin-right:.35rem}
.ramp i.ill{height:3px;width:1.1rem;background:var(--lost);vertical-align:.2em;margin-right:.35rem}
.ramp i.silent{height:2px;width:1.1rem;background:var(--soft);vertical-align:.24em;margin:0 .35rem 0 .6rem}
.drawing{display:block;overflow:visible}
.drawing text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.ground{fill:var(--band)}
.well{fill:var(--well)}.lost{fill:var(--lost)}
.all{fill:var(--ink);font-weight:650;paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.p99{fill:none;stroke-width:1.75}
.drawing .rule{stroke:var(--edge)}
path.s0{fill:var(--s0)}path.s1{fill:var(--s1)}path.s2{fill:var(--s2)}path.s3{fill:var(--s3)}
path.s4{fill:var(--s4)}path.s5{fill:var(--s5)}path.s6{fill:var(--s6)}path.s7{fill:var(--s7)}
path.full1{fill:var(--f1)}path.full2{fill:var(--f2)}path.full3{fill:var(--f3)}path.full4{fill:var(--f4)}
.silent{fill:var(--soft)}.ill{fill:var(--lost)}
.event{stroke:var(--event);stroke-width:1;stroke-opacity:.75;fill:none}
.event.undone{stroke-dasharray:2 3;stroke-opacity:.6}
circle.number{fill:var(--event)}
.drawing .digit{fill:var(--on-event);text-anchor:middle;font-size:9.5px;font-weight:650}
.aligned{table-layout:fixed;margin-top:1.1rem;font-size:.84rem;width:max-content}
.aligned col.first{width:198px}
.aligned caption{font-size:.95rem;font-weight:650;color:var(--ink);padding:.1rem 0 .3rem}
.aligned thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.aligned th,.aligned td{padding:.34rem .5rem .34rem 0;line-height:1.35;overflow-wrap:anywhere}
.aligned td{padding-left:13px}
.aligned tr.group th{color:var(--soft);font-weight:550;padding-top:.7rem}
.aligned .value{display:block;font-weight:650}
.aligned .verdict{font-size:.78rem}
.verdict.plain,.aligned span.plain{color:var(--soft)}
.aligned ul{list-style:none;margin:0;padding:0;font-size:.78rem;line-height:1.4}
.aligned p{font-size:.78rem;margin:0 0 .3rem}
.reading-help{margin-top:3rem;color:var(--ink);font-size:.88rem}
.reading-help p{max-width:60rem}
@media print{.board-scroll{break-inside:avoid}}
"#;

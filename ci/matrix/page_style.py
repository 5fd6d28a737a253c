"""How the matrix's page looks. Colour carries meaning: green passed, red failed, amber is not claimed, grey is not known."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { --ink:#1b2530; --soft:#5b6777; --line:#e1e6ec; --paper:#fff; --ground:#f3f5f8; --track:#eaeef3;
  --pass:#17824d; --pass-soft:#d8f0e2; --fail:#c42b25; --fail-soft:#fbdfdd; --excused:#a86f05; --excused-soft:#fbedcb;
  --unknown:#66727f; --unknown-soft:#e6eaef; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6ebf2; --soft:#98a4b3; --line:#2c3440; --paper:#19202a; --ground:#11151c;
  --track:#242c37; --pass:#4dc88d; --pass-soft:#15382a; --fail:#ff7d75; --fail-soft:#481f1d; --excused:#e6b34f;
  --excused-soft:#3d3115; --unknown:#97a3b1; --unknown-soft:#28303b; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
main { max-width:1180px; margin:0 auto; padding:28px 20px 48px; }
header, section { background:var(--paper); border:1px solid var(--line); border-radius:12px; padding:22px 26px; margin-bottom:18px; }
header { border-top:5px solid var(--unknown); } header.pass { border-top-color:var(--pass); } header.fail { border-top-color:var(--fail); }
header p { margin:0; color:var(--soft); overflow-wrap:anywhere; }
.kicker { text-transform:uppercase; letter-spacing:.09em; font-size:12px; }
h1 { margin:4px 0 2px; font-size:30px; line-height:1.2; } header.pass h1 { color:var(--pass); } header.fail h1 { color:var(--fail); }
h2 { margin:0 0 4px; font-size:18px; } h3 { margin:18px 0 8px; font-size:14px; font-weight:600; color:var(--soft); }
small { color:var(--soft); font-size:12.5px; font-weight:400; }
.tiles { list-style:none; display:flex; flex-wrap:wrap; gap:10px; margin:18px 0 0; padding:0; }
.tiles li { min-width:112px; padding:8px 14px; border-radius:9px; background:var(--track); color:var(--soft); }
.tiles b { display:block; font-size:22px; line-height:1.25; color:var(--ink); font-variant-numeric:tabular-nums; }
.pass { --tone:var(--pass); --tint:var(--pass-soft); } .fail, .not-built { --tone:var(--fail); --tint:var(--fail-soft); }
.excused { --tone:var(--excused); --tint:var(--excused-soft); } .not-runnable { --tone:var(--unknown); --tint:var(--unknown-soft); }
.tiles li[class] { background:var(--tint); } .tiles li[class] b { color:var(--tone); }
.wide { overflow-x:auto; } table { border-collapse:separate; border-spacing:4px; }
th { text-align:left; font-weight:500; font-size:13px; color:var(--soft); padding:4px 10px 4px 0; white-space:nowrap; }
thead th { text-align:center; padding:0 6px 2px; }
td { padding:0; min-width:112px; } td a, td span { display:block; padding:7px 11px; border-radius:7px; background:var(--tint);
  color:var(--tone); font-weight:600; font-size:13.5px; text-decoration:none; line-height:1.3; }
td small { display:block; max-width:15em; overflow-wrap:anywhere; color:inherit; opacity:.85; font-size:12px; } td.none { background:none; }
.cells { list-style:none; margin:0; padding:0; }
.cells li { display:grid; grid-template-columns:124px minmax(0,1fr) 104px; gap:14px; padding:9px 0; border-top:1px solid var(--line); }
.cells li:first-child { border-top:0; } .cells li:target { background:var(--track); }
.badge { justify-self:start; align-self:start; padding:1px 9px; border-radius:9px; background:var(--tint); color:var(--tone);
  font-size:12.5px; font-weight:600; white-space:nowrap; }
a { color:inherit; }
code { font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; overflow-wrap:anywhere; }
.cells p { margin:1px 0 0; color:var(--soft); font-size:13.5px; overflow-wrap:anywhere; }
.cells time { text-align:right; font-variant-numeric:tabular-nums; color:var(--soft); } .cells time small { display:block; }
details { margin-top:4px; } summary { cursor:pointer; color:var(--soft); font-size:13px; } summary b { color:var(--fail); font-weight:600; }
pre { margin:4px 0 8px; padding:9px 12px; border-radius:8px; background:var(--track); font-size:12.5px; line-height:1.45;
  white-space:pre-wrap; overflow-wrap:anywhere; }
.bar { display:block; height:6px; margin-top:6px; border-radius:3px; background:var(--track); }
.bar i { display:block; height:100%; min-width:2px; border-radius:3px; background:var(--soft); opacity:.55; }
footer { color:var(--soft); font-size:12.5px; padding:0 6px; } footer p { margin:0 0 6px; }
@media (max-width:640px) { .cells li { grid-template-columns:1fr auto; } .cells li > div { grid-row:2; grid-column:1 / -1; } }
@media print { body { background:none; } header, section { break-inside:avoid; } }
"""

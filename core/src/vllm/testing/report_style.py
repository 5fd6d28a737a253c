"""Owns how the report's page looks. Two colours carry meaning: green holds, red breaks; amber is an excuse."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { --ink:#1c2430; --soft:#5d6878; --line:#e2e6ec; --paper:#fff; --ground:#f4f6f9; --good:#1a8a52; --bad:#c8322b; --note:#b27608;
  --good-soft:#d9f0e3; --bad-soft:#fbe0de; --note-soft:#fbeecf; --track:#eceff4; }
@media (prefers-color-scheme: dark) { :root { --ink:#e7ebf1; --soft:#98a3b3; --line:#2d3542; --paper:#1a202a; --ground:#12161d;
  --good:#4cc38a; --bad:#ff7a72; --note:#e5b04b; --good-soft:#17382a; --bad-soft:#47201e; --note-soft:#3d3116; --track:#262e3a; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
main { max-width:1120px; margin:0 auto; padding:28px 20px 48px; }
header, section { background:var(--paper); border:1px solid var(--line); border-radius:12px; padding:22px 26px; margin-bottom:18px; }
header { border-top:5px solid var(--good); } header.failed { border-top-color:var(--bad); }
header p { margin:0; color:var(--soft); } .kicker { text-transform:uppercase; letter-spacing:.09em; font-size:12px; }
h1 { margin:4px 0 2px; font-size:30px; line-height:1.2; } h1 em { font-style:normal; color:var(--good); }
.failed h1 em { color:var(--bad); }
h2 { margin:0 0 10px; font-size:18px; } h2:first-letter, .strip dt:first-letter, dt:first-letter { text-transform:uppercase; }
small { color:var(--soft); font-size:12.5px; font-weight:400; }
.tiles { list-style:none; display:flex; flex-wrap:wrap; gap:10px; margin:18px 0 14px; padding:0; }
.tiles li { min-width:104px; padding:8px 14px; border-radius:9px; background:var(--track); color:var(--soft); }
.tiles b { display:block; font-size:22px; line-height:1.25; color:var(--ink); font-variant-numeric:tabular-nums; }
.tiles .passed { background:var(--good-soft); } .tiles .passed b { color:var(--good); }
.tiles .failed b, .tiles .error b { color:var(--bad); } .tiles .error { background:var(--bad-soft); }
.tiles .excused { background:var(--note-soft); } .tiles .excused b { color:var(--note); }
header.failed .tiles .failed { background:var(--bad-soft); } header.passed .tiles .failed b { color:var(--soft); }
.strip { display:grid; grid-template-columns:104px 1fr; gap:5px 0; align-items:center; }
.strip dt { font-weight:400; font-size:12.5px; color:var(--soft); margin:0; } .strip dd { display:flex; flex-wrap:wrap; gap:3px; }
.strip i { width:11px; height:11px; border-radius:3px; background:var(--good); }
.strip i.failed, .strip i.error { background:var(--bad); } .strip i.excused { background:var(--note); opacity:.65; }
article { border-left:4px solid var(--bad); padding:2px 0 2px 14px; margin:14px 0; } article h3 { margin:0; font-size:15px; }
article p { margin:2px 0 6px; color:var(--soft); }
pre { margin:0; padding:10px 12px; border-radius:8px; background:var(--track); font-size:12.5px; line-height:1.45; white-space:pre-wrap;
  overflow-wrap:anywhere; }
.wide { overflow-x:auto; } table { border-collapse:collapse; width:100%; }
th, td { text-align:left; vertical-align:top; padding:9px 12px 9px 0; border-top:1px solid var(--line); }
thead th { border-top:0; padding-top:0; color:var(--soft); font-size:12.5px; font-weight:500; }
tbody th { font-weight:600; width:46%; min-width:260px; padding-right:24px; } tbody th small { display:block; line-height:1.4; }
td { white-space:nowrap; min-width:150px; } td.excused { white-space:normal; }
.sign { display:inline-block; width:20px; font-weight:700; color:var(--good); vertical-align:top; }
.failed .sign, .error .sign { color:var(--bad); } .excused .sign { color:var(--note); }
.measured { display:inline-block; width:118px; } .measured small { display:block; font-variant-numeric:tabular-nums; }
.bar { display:block; height:8px; margin:7px 0 3px; background:var(--track); border-right:2px solid var(--soft); }
.bar i { display:block; height:100%; min-width:2px; background:var(--good); }
.bar.over i { background:var(--bad); }
dl { margin:0; } dt { font-weight:600; margin-top:10px; } dd { margin:0; color:var(--soft); }
.support { margin-left:6px; padding:1px 8px; border-radius:9px; background:var(--note-soft); color:var(--note); font-size:12.5px;
  font-weight:500; text-transform:none; }
.timings { list-style:none; margin:0; padding:0; }
.timings li { display:grid; grid-template-columns:minmax(220px,42%) 1fr 64px; gap:14px; align-items:center; padding:3px 0; }
.timings b { text-align:right; font-weight:500; font-variant-numeric:tabular-nums; }
.time i { display:block; height:8px; min-width:2px; border-radius:4px; background:var(--soft); opacity:.55; }
footer { color:var(--soft); font-size:12.5px; padding:0 6px; } footer p { margin:0 0 6px; overflow-wrap:anywhere; }
@media print { body { background:none; } header, section { break-inside:avoid; } }
"""

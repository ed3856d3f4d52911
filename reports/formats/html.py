"""Writes the report page, a self-contained HTML file, with tables and figures beside it.

Every script in it is allowed by its hash in the content-security policy, so that a text which slipped through
the escaping could still not run. The page fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.measuring.progress import say
from benchmarks.results.store import read_results
from reports.analysis import timing
from reports.analysis.comparisons import ablation
from reports.analysis.context import build
from reports.charts.curves import latency_curve, quality_curve
from reports.charts.depth import depth_trade_off
from reports.charts.latency import distribution
from reports.charts.loads import load_curve
from reports.charts.stages import stage_bars
from reports.charts.theme import PAGE, PAPER, PHONE
from reports.charts.thinking import thinking_curve
from reports.charts.trade_off import trade_off
from reports.formats import csv as csv_table
from reports.formats import explorer, latex, markdown, numbers, vega
from reports.formats.measured import HOW_WE_MEASURED, how_we_measured
from reports.tables.by_name import Tables
from reports.tables.registry import LAYOUTS
from rerankers.files.writing import is_written_directly, replace_file
from rerankers.interface import FAULTS
from rerankers.progress.activities import Activity
from rerankers.text.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.analysis.values import Context, Group, SystemResult
    from reports.charts.theme import Spec, Theme
    from reports.tables.cells import Table

    Drawn = dict[str, Spec | None]

PAIRED_SYSTEMS = 12
"""Most systems of a group for which the page has the table of all pairs."""

WRITERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "tex": latex.render,
    "md": markdown.render,
    "csv": csv_table.render,
}
"""Formats of the tables beside the page, by the suffix of their files."""

GROUPED = ("headline", "stages", "costs", "operations", "published", "interpretation", "loads")
"""Layouts that the page shows group by group."""

SCRIPTS = ("sort.js", "charts.js", "explorer.js", "page.js")


def report(folders: Sequence[Path], out: Path | None = None, baseline: str | None = None) -> Path:
    """Write the report page of result folders, with `<name>-tables/` and `<name>-figures/` beside it.

    Args:
        folders: result folders; several are compared with one another.
        out: the page's path; by default `report.html` in the first folder. A stream gets the page alone.
        baseline: label of the system that tests refer to.

    Returns:
        the page's path.

    Raises:
        InputError: a folder has no results, or no system has the label `baseline`.
        StoreError: a result folder is damaged.
    """
    context = build([read_results(folder) for folder in folders], baseline)
    tables = Tables(context)
    page = out or Path(folders[0]) / "report.html"
    if is_written_directly(page):
        replace_file(page, render(context, tables))
        return page
    page.parent.mkdir(parents=True, exist_ok=True)
    with Activity(f"writing {page}"):
        replace_file(page, without_secrets(render(context, tables)))
    with Activity("writing the tables"):
        _write_tables(tables, page.with_name(f"{page.stem}-tables"))
        _write_method(context, page.with_name(f"{page.stem}-tables"))
    _write_figures(context, page.with_name(f"{page.stem}-figures"))
    return page


def render(context: Context, tables: Tables | None = None) -> str:
    """Return the HTML of the whole page.

    Args:
        context: the groups and their systems.
        tables: the context's tables, if they were built already.
    """
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters |= {
        "signed": numbers.signed,
        "percent": numbers.percent,
        "count": numbers.count,
        "p_value": numbers.p_value,
        "significant": numbers.significant,
    }
    with ThreadPoolExecutor(1) as executor:  # bundling takes a second, in which Python is free
        bundle = executor.submit(vega.script)
        parts = _parts(context, tables or Tables(context))
    scripts = [_safe_script(bundle.result()), _safe_script("\n".join(map(_source, SCRIPTS)))]
    return environment.get_template("page.html.j2").render(
        context=context,
        **parts,
        style=_source("style.css") + _source("explorer.css"),
        scripts=scripts,
        policy=_policy(scripts),
        fault_kinds=FAULTS,
    )


def _parts(context: Context, tables: Tables) -> dict[str, Any]:
    """Return the variables of the page's template: tables, charts and explorer data, most by group."""
    paired = {group.key for group in context.groups if len(group.systems) > 2 and _is_small(group)}
    compared = tables.by_group("significance") if paired else {}
    overlaps = tables["overlap"] if any(map(_is_small, context.groups)) else []
    return {
        **{name: tables.by_group(name) for name in GROUPED},
        "significance": {key: table for key, table in compared.items() if key in paired},
        "judgements": tables.by_group("judgements"),
        "agreements": {
            group.key: [table for table in tables["agreement"] if table.group == group.key]
            for group in context.groups
        },
        "overlaps": {
            group.key: [table for table in overlaps if table.group == group.key and _is_small(group)]
            for group in context.groups
        },
        "quiet": {group.key: timing.about_noise(group.systems) for group in context.groups},
        "datasets": tables["datasets"] if len(context.groups) > 1 else [],
        "factors": tables["factors"],
        "ablations": _ablations(context, tables["ablation"]),
        "charts": {group.key: _charts(group) for group in context.groups},
        "parsed": {group.key: any(map(_has_output, group.systems)) for group in context.groups},
        "packed": {
            key: explorer.pack(data) if data["systems"] and data["ids"] else ""
            for key, data in explorer.payloads(context.groups).items()
        },
    }


def _is_small(group: Group) -> bool:
    """Return whether a group has few enough systems for a table of all pairs."""
    return len(group.systems) <= PAIRED_SYSTEMS


def _has_output(system: SystemResult) -> bool:
    """Return whether a system's rankings are parsed from a model's output, in which faults are possible."""
    return bool(system.work.faults or system.work.counts.get("llm_calls"))


def _charts(group: Group) -> dict[str, Drawn]:
    """Return all charts of a group by name."""
    return {name: _drawn(draw, group) for name, draw in _DRAWINGS.items()}


def _drawn(draw: Callable[[Any, Theme], Spec | None], data: object) -> Drawn:
    """Return a chart for wide and for narrow columns; its values are None if there is no data."""
    return {"wide": draw(data, PAGE), "narrow": draw(data, PHONE)}


def _ablations(context: Context, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return table and curves of each factor."""
    return [
        {"table": table, "quality": _drawn(quality_curve, factor), "latency": _drawn(latency_curve, factor)}
        for factor, table in zip(ablation.factors(context), tables, strict=True)
    ]


def _absolute(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of stages in milliseconds."""
    return stage_bars(group, share=False, theme=theme)


def _share(group: Group, theme: Theme) -> Spec | None:
    """Return the chart of stages as shares of the total."""
    return stage_bars(group, share=True, theme=theme)


_DRAWINGS = {
    "trade-off": trade_off,
    "depth": depth_trade_off,
    "thinking": thinking_curve,
    "stages": _absolute,
    "stage-shares": _share,
    "latency": distribution,
    "loads": load_curve,
}


def _source(name: str) -> str:
    """Return the text of a file in the templates folder."""
    return (Path(__file__).parents[1] / "templates" / name).read_text(encoding="utf-8")


def _safe_script(source: str) -> str:
    """Return a script changed so that it cannot close its HTML element early."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _policy(scripts: Sequence[str]) -> str:
    """Return the content-security policy that allows exactly these scripts."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _write_tables(tables: Tables, folder: Path) -> None:
    """Write every layout that has tables to a folder, as LaTeX, Markdown and CSV."""
    folder.mkdir(exist_ok=True)
    for layout in LAYOUTS:
        if tables[layout]:
            for suffix, write in WRITERS.items():
                replace_file(folder / f"{layout}.{suffix}", without_secrets(write(tables[layout])))


def _write_method(context: Context, folder: Path) -> None:
    """Write the paragraph on how results were measured to a folder, as LaTeX and Markdown."""
    for suffix, format_name in (("tex", "latex"), ("md", "markdown")):
        paragraph = how_we_measured(context, format_name)
        replace_file(folder / f"{HOW_WE_MEASURED}.{suffix}", without_secrets(paragraph))


def _write_figures(context: Context, folder: Path) -> None:
    """Write every chart to a folder as SVG and PDF; one that cannot be drawn is reported and left out."""
    folder.mkdir(exist_ok=True)
    specifications = {
        f"{name}-{group.key}": draw(group, PAPER)
        for group in context.groups
        for name, draw in _DRAWINGS.items()
    }
    for number, factor in enumerate(ablation.factors(context), 1):
        specifications[f"ablation-quality-{number}"] = quality_curve(factor, PAPER)
        specifications[f"ablation-latency-{number}"] = latency_curve(factor, PAPER)
    drawn = {name: each for name, each in specifications.items() if each is not None}
    with Activity("drawing figures", len(drawn), unit="figure") as progress:
        for name, specification in drawn.items():
            _write_figure(folder, name, specification)
            progress.advance()


def _write_figure(folder: Path, name: str, specification: Spec) -> None:
    """Write a figure as SVG and PDF, or say why it is left out."""
    try:
        svg, pdf = vega.figure(specification)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        say(f"the figure {name} cannot be drawn and is left out: {reason}")
        return
    replace_file(folder / f"{name}.svg", svg)
    replace_file(folder / f"{name}.pdf", pdf)

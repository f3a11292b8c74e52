// One plot of one map: dots, the focused gene and its neighbours, the selection. Plotly draws, WebGL when it helps.

import { el, plain } from "./dom.js";
import { css } from "./colours.js";
import { FONT, placed } from "./names.js";

const LABELLED = 60; // maps up to this size have every gene named
const NAMED = 40; // most names on larger maps
const SVG_GENES = 1500; // up to here plain SVG is as quick and sharper

const webgl = (() => {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl") || canvas.getContext("experimental-webgl"));
})();

/** WebGL draws open marks as wide as the line of each, and outlines no others. */
const openLines = (symbols) => (Array.isArray(symbols) ? symbols.map((name) => (name.endsWith("-open") ? 1.5 : 0)) : 0);

/** A plot in `box`; `on` has click(gene), select(genes), clear() and hover(gene or null). */
export function makePlot(box, on) {
  const place = el("div", {
    class: "plot",
    tabindex: "0",
    role: "application",
    "aria-label": "Gene map. Arrow keys move to the next gene in a direction, Enter selects it.",
  });
  const spoken = el("p", { class: "spoken", "aria-live": "polite" });
  box.append(place, spoken);
  let shown = null;
  let ready = false;
  let drawnAt = "";
  let labels = { named: [], focus: [], clear: () => 0, must: new Set() };

  /** Draw: { genes, x, y, controls, marker, hover, names, focus, near, selection, dim, drag, view }. */
  function draw(what) {
    shown = what;
    const type = what.genes.length > SVG_GENES && webgl ? "scattergl" : "scatter";
    const at = new Map(what.genes.map((gene, i) => [gene, i]));
    const strength = (i) => what.strength?.[i] ?? -1;
    shown.at = at;
    const size = what.genes.length > 1000 ? 6 : what.genes.length > 200 ? 8 : 11;
    const chosen = what.selection.filter((gene) => at.has(gene)).map((gene) => at.get(gene));
    const dots = {
      type,
      mode: "markers",
      x: what.x,
      y: what.y,
      customdata: what.genes,
      hovertext: what.hover,
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: {
        ...what.marker,
        size,
        opacity: 1,
        line: { width: type === "scatter" ? 0.8 : openLines(what.marker.symbol), color: css("--surface") },
      },
      selectedpoints:
        chosen.length || what.dim
          ? what.dim
            ? what.dim.map((gene) => at.get(gene)).filter((i) => i !== undefined)
            : chosen
          : null,
      selected: { marker: { opacity: 1 } },
      unselected: { marker: { opacity: 0.18 } },
    };
    const ring = (genes, width, extra, colour) => ({
      type: "scatter",
      mode: "markers",
      hoverinfo: "skip",
      x: genes.map((i) => what.x[i]),
      y: genes.map((i) => what.y[i]),
      marker: { size: size + extra, color: "rgba(0,0,0,0)", line: { width, color: colour } },
    });
    const focus = what.focus !== null && at.has(what.focus) ? [at.get(what.focus)] : [];
    const near = what.near.filter((gene) => at.has(gene)).map((gene) => at.get(gene));
    // The most important first: names that overlap one before them are moved or left out.
    const first = [...focus, ...(focus.length ? near.slice(0, 10) : []), ...chosen.slice(0, NAMED)];
    const all = what.genes.length <= LABELLED ? what.genes.map((_, i) => i).sort((a, b) => strength(b) - strength(a)) : [];
    const named = [...new Set([...first, ...all])].slice(0, Math.max(NAMED, all.length));
    const clear = (i) => size + (focus.includes(i) ? 14 : near.includes(i) ? 10 : 3);
    const names = {
      type: "scatter",
      mode: "markers+text",
      hoverinfo: "skip",
      textposition: "top center",
      cliponaxis: true,
      marker: { size: named.map(clear), color: "rgba(0,0,0,0)", line: { width: 0 } }, // keeps the text clear of dot and ring
      x: named.map((i) => what.x[i]),
      y: named.map((i) => what.y[i]),
      textfont: {
        size: FONT,
        color: named.map((i) =>
          focus.includes(i) || near.includes(i) || chosen.includes(i) || !(focus.length || chosen.length)
            ? css("--ink")
            : css("--muted"),
        ),
      },
    };
    labels = { named, focus, clear, must: new Set([...focus, ...chosen]) };
    Object.assign(names, written());
    const controls = {
      type: "scatter",
      mode: "markers",
      x: what.controls.map((c) => c.x),
      y: what.controls.map((c) => c.y),
      hovertext: what.controls.map((c) => `<b>${plain(c.name)}</b><br>non-targeting control`),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: { symbol: "x-thin", size: 12, color: css("--ink"), line: { width: 2.5, color: css("--ink") } },
    };
    const traces = [dots, controls, ring(near, 1.5, 7, css("--muted")), ring(focus, 2.5, 11, css("--accent")), names];
    const axis = { showgrid: false, zeroline: false, showticklabels: false, ticks: "" };
    const layout = {
      autosize: true,
      margin: { l: 8, r: 8, t: 8, b: 8 },
      showlegend: false,
      hovermode: "closest",
      dragmode: what.drag,
      uirevision: what.view,
      selectionrevision: Math.random(),
      selections: [],
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", color: css("--ink") },
      xaxis: { ...axis },
      yaxis: { ...axis },
      hoverlabel: {
        bgcolor: css("--surface"),
        bordercolor: css("--line"),
        font: { color: css("--ink"), size: 13 },
        align: "left",
      },
      newselection: { line: { color: css("--accent"), width: 1.5, dash: "dot" } },
    };
    Plotly.react(place, traces, layout, {
      displayModeBar: false,
      responsive: true,
      scrollZoom: true,
      doubleClick: "reset",
    });
    drawnAt = `${place.clientWidth}x${place.clientHeight}`;
    if (!ready) attach();
    ready = true;
    writeNames();
  }

  /** Text and side of each name in the view as it is; on top of the dots before the first drawing. */
  function written() {
    const { named, focus, clear, must } = labels;
    const axes = place._fullLayout?.xaxis && place._fullLayout;
    const text = (i) => (focus.includes(i) ? `<b>${plain(shown.names[i])}</b>` : plain(shown.names[i]));
    if (!axes || !named.length) return { text: named.map(text), textposition: named.map(() => "top center") };
    const { xaxis, yaxis } = axes;
    const at = (i) => [xaxis.l2p(shown.x[i]), yaxis.l2p(shown.y[i])];
    const names = named.map((i) => {
      const [x, y] = at(i);
      // Plotly writes a name this far from the centre of its dot.
      return { x, y, text: shown.names[i], bold: focus.includes(i), must: must.has(i), gap: clear(i) / 1.6 + 1 };
    });
    const box = { width: xaxis._length, height: yaxis._length };
    const crosses = shown.controls.map(({ x, y }) => [xaxis.l2p(x), yaxis.l2p(y), 7]);
    const sides = placed(names, [...shown.genes.map((_, i) => [...at(i), clear(i) / 2]), ...crosses], box);
    return {
      text: named.map((i, k) => (sides[k] ? text(i) : "")),
      textposition: sides.map((side) => side || "top center"),
    };
  }

  /** Place the names anew where the view has changed since they were. */
  function writeNames() {
    const last = place.data[place.data.length - 1];
    const { text, textposition } = written();
    if (text.join("\n") === last.text.join("\n") && textposition.join() === last.textposition.join()) return;
    Plotly.restyle(place, { text: [text], textposition: [textposition] }, [place.data.length - 1]);
  }

  function attach() {
    const genes = (event) => event.points.filter((point) => point.curveNumber === 0).map((point) => point.customdata);
    place.on("plotly_click", (event) => {
      const [gene] = genes(event);
      if (gene !== undefined)
        on.click(gene, event.event && (event.event.shiftKey || event.event.ctrlKey || event.event.metaKey));
    });
    place.on("plotly_relayout", writeNames);
    place.on("plotly_hover", (event) => on.hover(genes(event)[0] ?? null));
    place.on("plotly_unhover", () => on.hover(null));
    // Plotly also reports an empty selection while it redraws; only what a drag has drawn counts.
    place.on("plotly_selected", (event) => event && (event.lassoPoints || event.range) && on.select(genes(event)));
    place.on("plotly_deselect", () => on.clear());
    place.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (way) {
        event.preventDefault();
        const next = towards(way);
        if (next === null) return;
        spoken.textContent = shown.names[shown.at.get(next)];
        on.click(next, false);
      } else if (event.key === "Enter" && shown.focus !== null) on.click(shown.focus, true);
    });
  }

  // The legend and the window change the plot's size, and Plotly watches the window only.
  const measured = () => `${place.clientWidth}x${place.clientHeight}`;
  new ResizeObserver(() => {
    if (!ready || !place.isConnected || drawnAt === measured()) return;
    drawnAt = measured();
    Plotly.Plots.resize(place);
  }).observe(place);

  /** The gene nearest to the focused one within 45 degrees of a direction; a first one if none is focused. */
  function towards([dx, dy]) {
    const here = shown.at.get(shown.focus);
    if (here === undefined) return shown.genes[0] ?? null;
    const [wide, high] = [shown.x, shown.y].map((v) => Math.max(...v) - Math.min(...v) || 1);
    let best = null,
      least = Infinity;
    shown.genes.forEach((gene, i) => {
      const x = (shown.x[i] - shown.x[here]) / wide,
        y = (shown.y[i] - shown.y[here]) / high;
      const along = x * dx + y * dy,
        across = Math.abs(x * dy - y * dx),
        far = Math.hypot(x, y);
      if (i !== here && along > 0 && along >= across && far < least) [best, least] = [gene, far];
    });
    return best;
  }

  /** Point at a gene from elsewhere on the page. */
  function point(gene) {
    const i = gene === null ? undefined : shown && shown.at.get(gene);
    if (i === undefined) Plotly.Fx.unhover(place);
    else Plotly.Fx.hover(place, [{ curveNumber: 0, pointNumber: i }]);
  }

  const fit = () => Plotly.relayout(place, { "xaxis.autorange": true, "yaxis.autorange": true });
  const image = (format) =>
    Plotly.toImage(place, {
      format,
      width: place.clientWidth,
      height: place.clientHeight,
      scale: format === "png" ? 2 : 1,
    });
  const remove = () => {
    Plotly.purge(place);
    place.remove();
    spoken.remove();
  };
  return { draw, fit, image, point, remove, place };
}

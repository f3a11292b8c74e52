// The map, or two maps side by side: what is drawn, the legend, and the bar above.

import * as explorer from "./explorer.js";
import { colouring } from "./colours.js";
import { choices, keyOf, sharedColumns } from "./columns.js";
import { $, count, el, empty, plain, plural, tell } from "./dom.js";
import { drawLegend } from "./legend.js";
import { makePlot } from "./plot.js";
import * as state from "./state.js";
import { onTheme } from "./theme.js";

let plots = [];
let drag = "pan";
let emphasised = null; // genes of the legend entry pointed at
let round = 0;

export const current = () => plots;
export const point = (gene) => plots.forEach((plot) => plot.point(gene));

function hover(view, column, gene) {
  const row = view.row.get(gene);
  const known = explorer.complexesOf(gene);
  const value = (key) => view.columns.find((other) => other.key === key)?.values?.[row] ?? null;
  const cells = value("n_cells"),
    guides = value("n_guides");
  const lines = [`<b>${plain(explorer.name(gene))}</b> KO`];
  if (known.length) lines.push(plain(known.join("; ")));
  if (explorer.quiet(gene)) lines.push(explorer.QUIET);
  if (cells !== null)
    lines.push(`${count(cells)} cells observed${guides !== null ? `, ${plural(guides, "guide")}` : ""}`);
  if (column && !["complex", "n_cells", "n_guides"].includes(column.key))
    lines.push(`${plain(column.label)}: ${plain(explorer.shortly(explorer.valueOf(column, row)))}`);
  return lines.join("<br>");
}

async function neighboursIn(map, s) {
  if (s.gene === null) return [];
  const found = (await explorer.card(s.gene)).maps[map];
  return found ? found.neighbours.slice(0, explorer.close(map)).map((other) => explorer.find(other.gene_symbol)) : [];
}

function hovers(view, column) {
  const known = (view.hovers ??= new Map());
  const key = JSON.stringify(column && [column.key, column.label]);
  if (!known.has(key))
    known.set(
      key,
      view.genes.map((gene) => hover(view, column, gene)),
    );
  return known.get(key);
}

async function drawOne(plot, map, view, column, s, mine) {
  const near = await neighboursIn(map, s).catch(() => []);
  if (mine !== round) return null; // the user has gone on
  const number = Math.min(map === s.map ? s.plane : 0, view.planes.length - 1);
  const plane = view.planes[number];
  const rows = view.genes.map((_, row) => row).filter((row) => !s.only || !explorer.quiet(view.genes[row]));
  const take = (values) => (rows.length === values.length ? values : rows.map((row) => values[row]));
  const genes = take(view.genes);
  const part = column && { ...column, ...(column.codes ? { codes: take(column.codes) } : { values: take(column.values) }) };
  const look = colouring(part, genes.map(explorer.quiet));
  plot.draw({
    genes,
    x: take(plane.x),
    y: take(plane.y),
    marker: look.marker,
    hover: take(hovers(view, column)),
    names: genes.map(explorer.name),
    strength: take(view.columns.find((other) => other.key === "hit_effect")?.values ?? view.genes.map(() => null)),
    controls: view.controls.map((control) => ({ name: control.name, x: control.x[number], y: control.y[number] })),
    focus: s.gene,
    near,
    selection: s.selection,
    dim: emphasised,
    drag,
    view: `${map}/${number}`,
  });
  return { name: titleOf(map), genes, look };
}

export async function draw() {
  const s = state.get();
  const mine = ++round;
  if (!explorer.overview.maps.length) return;
  const wanted = s.other === null ? [s.map] : [s.map, s.other];
  if (plots.length !== wanted.length) rebuild(wanted.length);
  try {
    const views = await Promise.all(wanted.map(explorer.view));
    const columns = await sharedColumns(wanted, views, s);
    if (mine !== round) return;
    const key = keyOf(views, s),
      known = new Map(choices(views, s));
    plots.forEach((plot, i) => {
      plot.title.textContent = titleOf(wanted[i]) + (columns[i] ? "" : `: has no column “${known.get(key)}”, drawn grey`);
      plot.title.hidden = wanted.length === 1 && columns[i] !== null;
    });
    const drawn = await Promise.all(wanted.map((map, i) => drawOne(plots[i], map, views[i], columns[i], s, mine)));
    if (mine !== round) return;
    drawLegend(drawn, emphasise);
    bar(views[0], [...known], key, s);
    document.documentElement.dataset.drawn = String(mine);
  } catch (error) {
    tell(error.message);
  }
}

function emphasise(genes) {
  if (emphasised === genes) return;
  emphasised = genes;
  draw();
}

const titleOf = (map) => {
  const { name, runs } = explorer.overview.maps[map];
  return runs > 1 ? `${name} (${runs} runs)` : name;
};

function rebuild(n) {
  plots.forEach((plot) => plot.remove());
  const place = $("plots");
  place.replaceChildren();
  place.classList.toggle("two", n === 2);
  plots = Array.from({ length: n }, () => {
    const title = el("h2", { class: "plotname" });
    const box = el("div", { class: "plotbox" }, title);
    place.append(box);
    const made = makePlot(box, {
      click: (gene, add) =>
        add
          ? toggleSelected(gene)
          : state.set({ gene, tab: ["gene", "cells"].includes(state.get().tab) ? state.get().tab : "gene" }),
      select: (genes) => {
        if (genes.length) state.set({ selection: genes, tab: "selection" });
      },
      clear: () => state.set({ selection: [] }),
      hover: (gene) => plots.forEach((plot) => plot.place !== made.place && plot.point(gene)),
    });
    return Object.assign(made, { title });
  });
}

export function toggleSelected(gene) {
  const { selection } = state.get();
  state.set({
    selection: selection.includes(gene) ? selection.filter((other) => other !== gene) : [...selection, gene],
  });
}

function options(select, entries, value) {
  const key = JSON.stringify(entries);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...entries.map(([v, text]) => el("option", { value: v, text })));
  }
  select.value = String(value);
}

function bar(view, columns, key, s) {
  options(
    $("map"),
    explorer.overview.maps.map((_, i) => [String(i), titleOf(i)]),
    s.map,
  );
  options(
    $("plane"),
    view.planes.map((plane, i) => [String(i), plane.name]),
    Math.min(s.plane, view.planes.length - 1),
  );
  options($("colour"), columns, key);
  $("only").checked = s.only;
  $("compare").checked = s.other !== null;
  const second = $("other");
  second.hidden = s.other === null;
  if (s.other !== null)
    options(
      second,
      explorer.overview.maps.map((_, i) => [String(i), titleOf(i)]).filter(([i]) => Number(i) !== s.map),
      s.other,
    );
}

export function setDrag(mode) {
  drag = mode;
  document
    .querySelectorAll("[data-drag]")
    .forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.drag === mode)));
  draw();
}

export const fit = () => plots.forEach((plot) => plot.fit());

export function toggleCompare() {
  const { maps } = explorer.overview,
    s = state.get();
  if (s.other !== null) return state.set({ other: null });
  if (maps.length < 2) {
    tell("There is one map only. grape-ops explore RUN --map OTHER.h5ad brings another.");
    $("compare").checked = false;
    return undefined;
  }
  return state.set({ other: s.map === maps.length - 1 ? 0 : maps.length - 1 });
}

export function begin() {
  if (!explorer.overview.maps.length) {
    $("plots").replaceChildren(empty("There is no map yet", explorer.overview.missing.maps));
    document.querySelector(".mapbar").hidden = true;
    return;
  }
  $("compare")
    .closest("label")
    .after(
      el("select", {
        id: "other",
        "aria-label": "Map to compare with",
        hidden: true,
        onchange: (event) => state.set({ other: Number(event.target.value) }),
      }),
    );
  $("map").addEventListener("change", (event) => {
    const map = Number(event.target.value),
      s = state.get();
    state.set({ map, plane: 0, other: s.other === map ? s.map : s.other });
  });
  $("plane").addEventListener("change", (event) => state.set({ plane: Number(event.target.value) }));
  $("colour").addEventListener("change", (event) => state.set({ colour: event.target.value }));
  $("only").closest("label").hidden = !explorer.overview.findings;
  $("only").addEventListener("change", (event) => state.set({ only: event.target.checked }));
  $("compare").addEventListener("change", toggleCompare);
  $("fit").addEventListener("click", fit);
  document
    .querySelectorAll("[data-drag]")
    .forEach((button) => button.addEventListener("click", () => setDrag(button.dataset.drag)));
  onTheme(() => {
    $("legend").dataset.key = "";
    draw();
  });
  state.listen((_, changed) => {
    if (["map", "plane", "colour", "clustering", "gene", "selection", "other", "only"].some((key) => changed.has(key)))
      draw();
  });
}

// The map, or two maps side by side: what is drawn, the legend, and the bar above.

import * as explorer from "./explorer.js";
import { colouring, mark } from "./colours.js";
import { $, count, el, empty, plain, plural, tell } from "./dom.js";
import { makePlot } from "./plot.js";
import * as state from "./state.js";
import { onTheme } from "./theme.js";

const LEGEND = 40; // entries before the legend says how many more
let plots = [];
let drag = "pan";
let emphasised = null; // genes of the legend entry pointed at
let round = 0;

export const current = () => plots;
export const point = (gene) => plots.forEach((plot) => plot.point(gene));

/** What genes are coloured by: by phenotype where nothing else was asked for and no complexes are known. */
const colourOf = (view, s) =>
  s.colour === "complex" && !view.columns.some((column) => column.key === "complex") ? "phenotype" : s.colour;

/** The column genes are coloured by in a map; the first of the map if it has not the one asked for. */
export async function columnOf(map, s) {
  const view = await explorer.view(map);
  const found = view.columns.find((column) => column.key === colourOf(view, s));
  if (found) return found;
  return s.colour === "cluster" || !view.columns.length || s.colour === "complex"
    ? (await explorer.clusters(map, s.clustering)).column
    : view.columns[0];
}

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
    lines.push(`${plain(column.label)}: ${plain(explorer.valueOf(column, row) || "–")}`);
  return lines.join("<br>");
}

async function neighboursIn(map, s) {
  if (s.gene === null) return [];
  const found = (await explorer.card(s.gene)).maps[map];
  return found ? found.neighbours.slice(0, explorer.close(map)).map((other) => explorer.find(other.gene_symbol)) : [];
}

async function drawOne(plot, map, s, mine) {
  const [view, column, near] = await Promise.all([
    explorer.view(map),
    columnOf(map, s),
    neighboursIn(map, s).catch(() => []),
  ]);
  if (mine !== round) return null; // the user has gone on
  const number = Math.min(map === s.map ? s.plane : 0, view.planes.length - 1);
  const plane = view.planes[number];
  const rows = view.genes.map((_, row) => row).filter((row) => !s.only || !explorer.quiet(view.genes[row]));
  const take = (values) => (rows.length === values.length ? values : rows.map((row) => values[row]));
  const genes = take(view.genes);
  const part = column && { ...column, ...(column.codes ? { codes: take(column.codes) } : { values: take(column.values) }) };
  const look = colouring(part, genes.map(explorer.quiet));
  const hovers = (view.hovers ??= new Map());
  if (!hovers.has(column))
    hovers.set(
      column,
      view.genes.map((gene) => hover(view, column, gene)),
    );
  plot.draw({
    genes,
    x: take(plane.x),
    y: take(plane.y),
    marker: look.marker,
    hover: take(hovers.get(column)),
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
  return { view, genes, look };
}

export async function draw() {
  const s = state.get();
  const mine = ++round;
  if (!explorer.overview.maps.length) return;
  const wanted = s.other === null ? [s.map] : [s.map, s.other];
  if (plots.length !== wanted.length) rebuild(wanted.length);
  plots.forEach((plot, i) => {
    plot.title.textContent = titleOf(wanted[i]);
    plot.title.hidden = wanted.length === 1;
  });
  try {
    const [first] = await Promise.all(wanted.map((map, i) => drawOne(plots[i], map, s, mine)));
    if (first && mine === round) {
      legend(first);
      bar(first.view, s);
    }
    if (mine === round) document.documentElement.dataset.drawn = String(mine);
  } catch (error) {
    tell(error.message);
  }
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

function legend({ genes, look }) {
  const place = $("legend");
  if (look.scale) {
    place.dataset.key = "";
    const text = (value) => (Number.isInteger(value) ? count(value) : value.toPrecision(3));
    place.replaceChildren(
      el(
        "span",
        { class: "scale" },
        el("b", { text: look.label }),
        el("span", { text: text(look.scale.low) }),
        el("i", { style: { background: look.scale.gradient } }),
        el("span", { text: text(look.scale.high) + (look.scale.logarithmic ? " (log)" : "") }),
      ),
    );
    return;
  }
  const members = (entry) => genes.filter((_, row) => look.codes[row] === entry.code);
  const emphasise = (those) => {
    emphasised = those;
    draw();
  };
  const chips = look.entries.slice(0, LEGEND).map((entry) =>
    el(
      "button",
      {
        class: "chip",
        title: `Select the ${plural(entry.n, "gene")}`,
        onclick: () => {
          emphasised = null;
          state.set({ selection: members(entry), tab: "selection" });
        },
      },
      mark(entry.symbol, entry.colour),
      el("span", { text: entry.name }),
      el("small", { text: count(entry.n) }),
    ),
  );
  chips.forEach((chip, i) => {
    chip.addEventListener(
      "pointerenter",
      (event) => event.pointerType === "mouse" && genes.length <= 2000 && emphasise(members(look.entries[i])),
    );
    chip.addEventListener("pointerleave", () => emphasised && emphasise(null));
  });
  const more = look.entries.length - LEGEND;
  // Replacing a legend under the pointer would end the pointing at once.
  const key = JSON.stringify([look.label, look.entries.map((entry) => [entry.name, entry.n, entry.colour])]);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...chips, more > 0 ? el("span", { class: "quiet", text: `and ${more} more` }) : "");
}

function options(select, entries, value) {
  const key = JSON.stringify(entries);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(...entries.map(([v, text]) => el("option", { value: v, text })));
  }
  select.value = String(value);
}

function bar(view, s) {
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
  const columns = [...view.columns.map((column) => [column.key, column.label]), ["cluster", "cluster"]];
  const colour = colourOf(view, s);
  options($("colour"), columns, columns.some(([key]) => key === colour) ? colour : "cluster");
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

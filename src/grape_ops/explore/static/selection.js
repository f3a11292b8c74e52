// The selected genes as a table, and what leaves the page: TSV, .h5ad, PNG, SVG.

import * as explorer from "./explorer.js";
import { post } from "./data.js";
import { $, count, el, empty, plural, refill, save, scrolling, tell } from "./dom.js";
import { geneButton } from "./gene.js";
import * as maps from "./maps.js";
import * as state from "./state.js";

const ROWS = 300;
let round = 0;

export async function draw() {
  const s = state.get(),
    panel = $("panel-selection"),
    mine = ++round;
  $("tab-selection").textContent = s.selection.length ? `Selection (${count(s.selection.length)})` : "Selection";
  if (s.tab !== "selection") return;
  if (!s.selection.length)
    return void refill(
      panel,
      empty(
        "Nothing is selected",
        "Draw a lasso round some dots, paste a list of genes above, or click a name in the legend. Shift-click adds one gene.",
      ),
    );
  try {
    const view = explorer.overview.maps.length ? await explorer.view(s.map) : { columns: [], row: new Map() };
    if (mine === round) refill(panel, ...content(s.selection, view));
  } catch (error) {
    if (mine === round) refill(panel, empty("The selection cannot be shown", error.message));
  }
}

function rowsOf(selection, view) {
  const cells = view.columns.find((column) => column.key === "n_cells");
  return selection.slice(0, ROWS).map((gene) => {
    const row = view.row.get(gene);
    return el(
      "tr",
      {},
      el("td", {}, geneButton(gene)),
      el("td", { class: "words", text: explorer.complexesOf(gene).join("; ") }),
      el("td", { text: cells && row !== undefined ? count(cells.values[row]) : "–" }),
      el(
        "td",
        {},
        el("button", {
          class: "icon",
          "data-focus": `out-${gene}`,
          text: "×",
          title: `Take ${explorer.name(gene)} out`,
          "aria-label": `Take ${explorer.name(gene)} out`,
          onclick: () => maps.toggleSelected(gene),
        }),
      ),
    );
  });
}

/** The complexes that most of the selected genes belong to, with how many of theirs are selected. */
function heldComplexes(selection) {
  const held = new Map();
  selection.forEach((gene) => explorer.complexesOf(gene).forEach((name) => held.set(name, (held.get(name) || 0) + 1)));
  return [...held.entries()]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
    .map(([name, n]) => {
      const { genes } = explorer.overview.complexes.find((complex) => complex.name === name);
      return `${count(n)} of the ${plural(genes.length, "gene")} of ${name}`;
    });
}

function content(selection, view) {
  const held = heldComplexes(selection);
  return [
    el(
      "div",
      { class: "celltools" },
      el("b", { text: `${plural(selection.length, "gene")} selected` }),
      el("button", { "data-focus": "tsv", text: "TSV", onclick: () => exportAs("tsv") }),
      el("button", { "data-focus": "h5ad", text: ".h5ad", onclick: () => exportAs("h5ad") }),
      el("button", { "data-focus": "copy", text: "Copy symbols", onclick: copy }),
      el("button", { text: "Clear", onclick: () => state.set({ selection: [] }) }),
    ),
    el("p", { class: "quiet", text: held.length ? `Holds ${held.join(", ")}.` : "" }),
    scrolling(
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            ["gene", "complex", "cells", ""].map((h) => el("th", { text: h })),
          ),
        ),
        el("tbody", {}, rowsOf(selection, view)),
      ),
    ),
    selection.length > ROWS
      ? el("p", { class: "quiet", text: `and ${count(selection.length - ROWS)} more; the files hold all.` })
      : "",
  ];
}

async function copy() {
  const text = state.get().selection.map(explorer.name).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    tell("Symbols copied");
  } catch {
    save(text, "genes.txt", "text/plain"); // pages without https may not reach the clipboard
  }
}

/** The selected genes, or all of the map if none is selected. */
function chosen(view, s) {
  const rows = s.selection.filter((gene) => view.row.has(gene));
  return s.selection.length ? rows : view.genes;
}

async function table(s) {
  const view = await explorer.view(s.map);
  const found = await explorer.clusters(s.map, s.clustering).catch(() => null);
  const columns = view.columns.filter((column) => column.key !== "complex");
  const plane = view.planes[Math.min(s.plane, view.planes.length - 1)];
  const clean = (text) => String(text).replace(/[\t\r\n]+/g, " ");
  const lines = [
    [
      "gene_symbol",
      "complex",
      `${plane.name} x`,
      `${plane.name} y`,
      ...columns.map((column) => column.key),
      ...(found ? ["cluster"] : []),
    ]
      .map(clean)
      .join("\t"),
  ];
  for (const gene of chosen(view, s)) {
    const row = view.row.get(gene);
    lines.push(
      [
        explorer.name(gene),
        explorer.complexesOf(gene).join("; "),
        plane.x[row],
        plane.y[row],
        ...columns.map((column) => explorer.valueOf(column, row) ?? ""),
        ...(found ? [found.cluster[row]] : []),
      ]
        .map(clean)
        .join("\t"),
    );
  }
  return `${lines.join("\n")}\n`;
}

async function vectors(s) {
  const view = await explorer.view(s.map);
  if (explorer.live()) return post("live/genes.h5ad", { map: s.map, genes: chosen(view, s) });
  if (s.selection.length) tell("A static page has the vectors of all genes of the map in one file.");
  const response = await fetch(`data/map/${s.map}.h5ad`);
  if (!response.ok) throw new Error("This page has no vectors of the map.");
  return response.blob();
}

async function exportAs(kind) {
  const s = state.get();
  $("export").open = false;
  try {
    if (kind === "tsv") save(await table(s), "genes.tsv", "text/tab-separated-values");
    else if (kind === "h5ad") save(await vectors(s), "genes.h5ad");
    else
      for (const [i, plot] of maps.current().entries()) {
        const address = await plot.image(kind);
        const link = el("a", { href: address, download: `map${i ? "_2" : ""}.${kind}` });
        document.body.append(link);
        link.click();
        link.remove();
      }
  } catch (error) {
    tell(error.message);
  }
}

export function begin() {
  document
    .querySelectorAll("[data-export]")
    .forEach((button) => button.addEventListener("click", () => exportAs(button.dataset.export)));
  state.listen((_, changed) => {
    if (["selection", "tab", "map"].some((key) => changed.has(key))) draw();
  });
}

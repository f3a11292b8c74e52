// The selected genes as a table, and what leaves the page: TSV, .h5ad, PNG, SVG.

import * as explorer from "./explorer.js";
import { post } from "./data.js";
import { $, count, el, empty, plural, save, scrolling, tell } from "./dom.js";
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
    return void panel.replaceChildren(
      empty(
        "Nothing is selected",
        "Draw a lasso round some dots, paste a list of genes above, or click a name in the legend. Shift-click adds one gene.",
      ),
    );
  const view = explorer.overview.maps.length ? await explorer.view(s.map) : { columns: [], row: new Map() };
  if (mine !== round) return;
  const cells = view.columns.find((column) => column.key === "n_cells");
  const rows = s.selection.slice(0, ROWS).map((gene) => {
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
          text: "×",
          title: `Take ${explorer.name(gene)} out`,
          "aria-label": `Take ${explorer.name(gene)} out`,
          onclick: () => maps.toggleSelected(gene),
        }),
      ),
    );
  });
  const held = new Map();
  s.selection.forEach((gene) => explorer.complexesOf(gene).forEach((name) => held.set(name, (held.get(name) || 0) + 1)));
  const most = [...held.entries()]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
    .map(([name, n]) => `${n} of ${explorer.overview.complexes.find((c) => c.name === name).genes.length} of ${name}`);
  panel.replaceChildren(
    el(
      "div",
      { class: "celltools" },
      el("b", { text: `${plural(s.selection.length, "gene")} selected` }),
      el("button", { text: "TSV", onclick: () => exportAs("tsv") }),
      el("button", { text: ".h5ad", onclick: () => exportAs("h5ad") }),
      el("button", { text: "Copy symbols", onclick: copy }),
      el("button", { text: "Clear", onclick: () => state.set({ selection: [] }) }),
    ),
    el("p", { class: "quiet", text: most.length ? `Holds ${most.join(", ")}.` : "" }),
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
        el("tbody", {}, rows),
      ),
    ),
    s.selection.length > ROWS
      ? el("p", { class: "quiet", text: `and ${count(s.selection.length - ROWS)} more; the files hold all.` })
      : "",
  );
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
  const columns = [...view.columns.filter((column) => column.key !== "complex"), ...(found ? [found.column] : [])];
  const plane = view.planes[Math.min(s.plane, view.planes.length - 1)];
  const clean = (text) => String(text).replace(/[\t\r\n]+/g, " ");
  const lines = [
    ["gene_symbol", "complex", `${plane.name} x`, `${plane.name} y`, ...columns.map((column) => column.key)]
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
        ...columns.map((column) => explorer.valueOf(column, row).replace(/^cluster /, "")),
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

export async function exportAs(kind) {
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

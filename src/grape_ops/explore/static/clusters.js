// Clusters of the map: their genes, how firmly they hold together, and which known complexes they hold.

import * as explorer from "./explorer.js";
import { $, el, empty, plural, probability, refill, rich } from "./dom.js";
import { geneButton } from "./gene.js";
import * as state from "./state.js";

const GENES = 30; // symbols listed before a cluster is opened
let round = 0;

const nuisance = (scores) =>
  Object.values(scores).map((score) => el("p", { class: score.worrying ? "warning" : "quiet" }, rich(score.words)));

function rowOf(cluster, genes, found, view) {
  const supportOf = (gene) => found.support[view.row.get(gene)];
  const support = genes.map(supportOf).filter((value) => value !== null);
  const best = found.enrichment.filter((entry) => entry.cluster === cluster).sort((a, b) => a.p_value - b.p_value);
  const held = best
    .slice(0, 3)
    .map((entry) =>
      el(
        "li",
        { class: entry.q_value < 0.05 ? "firm" : "quiet" },
        `${entry.complex}: ${entry.overlap} of ${entry.complex_size}`,
        el("small", { text: ` FDR ${probability(entry.q_value)}` }),
      ),
    );
  const names = [...genes].sort((a, b) => (supportOf(b) ?? 0) - (supportOf(a) ?? 0));
  const list = el(
    "p",
    { class: "genes" },
    names.slice(0, GENES).map((gene) => geneButton(gene)),
  );
  if (names.length > GENES)
    list.append(
      el("button", {
        class: "more",
        "data-focus": `more-${cluster}`,
        text: `and ${names.length - GENES} more`,
        onclick: (event) => {
          const rest = names.slice(GENES).map((gene) => geneButton(gene));
          event.target.replaceWith(...rest);
          rest[0].focus();
        },
      }),
    );
  return el(
    "li",
    { class: "cluster" },
    el(
      "header",
      {},
      el("h3", { text: `Cluster ${cluster}` }),
      el("span", {
        class: "quiet",
        text: `${plural(genes.length, "gene")}${support.length ? ` · support ${Math.round((100 * support.reduce((a, b) => a + b, 0)) / support.length)} %` : ""}`,
      }),
      el("button", {
        "data-focus": `select-${cluster}`,
        text: "Select",
        onclick: () => state.set({ selection: genes, tab: "selection" }),
      }),
    ),
    held.length ? el("ul", { class: "held" }, held) : null,
    list,
  );
}

export async function draw() {
  const s = state.get(),
    panel = $("panel-clusters"),
    mine = ++round;
  if (s.tab !== "clusters") return;
  if (!explorer.overview.maps.length)
    return void refill(panel, empty("There are no clusters", explorer.overview.missing.maps));
  refill(panel, el("p", { class: "quiet", text: "Clustering…" }));
  try {
    const view = await explorer.view(s.map);
    const choice = explorer.choiceOf(view, s.clustering);
    const found = await explorer.clusters(s.map, choice);
    if (mine !== round) return;
    const select = el(
      "select",
      { id: "clustering", "data-focus": "clustering", onchange: (event) => state.set({ clustering: Number(event.target.value) }) },
      view.clusterings.map((name, i) => el("option", { value: i, text: name, selected: i === choice })),
    );
    const firm = new Set(found.enrichment.filter((entry) => entry.q_value < 0.05).map((entry) => entry.cluster)).size;
    const ordered = [...found.members.entries()].sort((a, b) => a[0] - b[0]);
    refill(
      panel,
      el(
        "div",
        { class: "celltools" },
        el("label", {}, "Clusters ", select),
        el("button", {
          "data-focus": "colour",
          text: "Colour the map",
          "aria-pressed": String(s.colour === "cluster"),
          onclick: () => state.set({ colour: "cluster" }),
        }),
      ),
      el(
        "p",
        { class: "quiet" },
        explorer.overview.truth
          ? `${plural(ordered.length, "cluster")}; ${firm} hold a known complex more than chance would put there (FDR < 0.05, hypergeometric, ${explorer.overview.truth}). Support: how often genes are found together over seeds and runs.`
          : rich(`${plural(ordered.length, "cluster")}. ${explorer.overview.missing.truth}`),
      ),
      ...nuisance(found.nuisance),
      el(
        "ul",
        { class: "clusters" },
        ordered.map(([cluster, genes]) => rowOf(cluster, genes, found, view)),
      ),
    );
  } catch (error) {
    if (mine === round) refill(panel, empty("The clusters cannot be shown", error.message));
  }
}

export function begin() {
  state.listen((_, changed) => {
    if (["tab", "map", "clustering", "colour"].some((key) => changed.has(key))) draw();
  });
}

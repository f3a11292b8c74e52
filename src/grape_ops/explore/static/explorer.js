// What the run and its maps hold, as fetched so far.

import { json } from "./data.js";

export let overview = null;
export const name = (gene) => overview.genes[gene];
export const live = () => overview.mode === "live";
let quietGenes = new Set();
/** Whether a gene was tested, and there is no evidence of a phenotype. */
export const quiet = (gene) => quietGenes.has(gene);
export const QUIET = "no evidence of a phenotype";
let numbers = new Map();
let homes = new Map();

export async function open() {
  overview = await json("data/overview.json");
  numbers = new Map(overview.genes.map((symbol, index) => [symbol, index]));
  homes = new Map();
  quietGenes = new Set(overview.quiet);
  for (const complex of overview.complexes)
    for (const gene of complex.genes) {
      if (!homes.has(gene)) homes.set(gene, []);
      homes.get(gene).push(complex.name);
    }
  const folded = new Map(overview.genes.map((symbol, index) => [symbol.toUpperCase(), index]));
  const renamed = new Map(Object.entries(overview.aliases).map(([alias, symbol]) => [alias.toUpperCase(), symbol]));
  find = (word) => numbers.get(word) ?? folded.get(word.toUpperCase()) ?? numbers.get(renamed.get(word.toUpperCase()));
}

/** Number of a gene by symbol or alias, upper or lower case; undefined if there is none. */
export let find = () => undefined;
export const complexesOf = (gene) => homes.get(gene) || [];
/** Complexes that genes of the run are coloured by: the first of each gene. */
export const homeComplexes = () => [...new Set([...homes.values()].map(([first]) => first))].sort();

/** A map, with a look-up from genes to its rows. */
export async function view(map) {
  const found = await json(`data/map/${map}.json`);
  found.row ??= new Map(found.genes.map((gene, row) => [gene, row]));
  return found;
}

/** How many nearest genes count as close: 10, fewer on a small map. */
export const close = (map) => Math.max(3, Math.min(10, Math.floor(overview.maps[map].genes / 4)));

/** Which of a map's clusterings is meant; the middle one if none was chosen. */
export const choiceOf = ({ clusterings }, chosen) =>
  Math.min(chosen ?? Math.floor((clusterings.length - 1) / 2), clusterings.length - 1);

/** Clusters of a map: members by cluster, and a column to colour by. */
export async function clusters(map, chosen) {
  const whole = await view(map),
    { genes, clusterings } = whole;
  const clustering = choiceOf(whole, chosen);
  const found = await json(`data/map/${map}/clusters/${clustering}.json`);
  if (!found.members) {
    found.members = new Map();
    found.cluster.forEach((cluster, row) => {
      if (!found.members.has(cluster)) found.members.set(cluster, []);
      found.members.get(cluster).push(genes[row]);
    });
  }
  const levels = [...found.members.keys()].sort((a, b) => a - b);
  const place = new Map(levels.map((cluster, code) => [cluster, code]));
  found.column ??= {
    key: "cluster",
    label: `cluster (${clusterings[clustering]})`,
    kind: "category",
    levels: levels.map((c) => `cluster ${c}`),
    codes: found.cluster.map((c) => place.get(c)),
  };
  return found;
}

export const card = (gene) => json(`data/gene/${gene}.json`);

/** A value of a column for a gene; null where there is none. */
export function valueOf(column, row) {
  if (column.kind === "category") return column.codes[row] < 0 ? null : column.levels[column.codes[row]];
  return column.values[row];
}

/** A value as text with four digits; the whole of a whole number. */
export const shortly = (value) =>
  typeof value !== "number" || Number.isInteger(value) ? String(value ?? "–") : String(Number(value.toPrecision(4)));

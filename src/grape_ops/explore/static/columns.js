// The column genes are coloured by, with one meaning of a colour in all maps shown.

import * as explorer from "./explorer.js";

/** What genes are coloured by: where no complexes are known, by phenotype or cluster unless something else was asked for. */
export function keyOf(views, s) {
  const has = (key) => views.some((view) => view.columns.some((column) => column.key === key));
  if (s.colour !== "complex" || has("complex")) return s.colour;
  return has("phenotype") ? "phenotype" : "cluster";
}

/** What the maps shown can be coloured by: [key, label]. */
export function choices(views, s) {
  const known = new Map(views.flatMap((view) => view.columns).map((column) => [column.key, column.label]));
  known.set("cluster", "cluster");
  const key = keyOf(views, s);
  if (!known.has(key)) known.set(key, key);
  return [...known];
}

/** The column of each map, null for a map that lacks it: levels have the same codes, numbers the same range. */
export async function sharedColumns(maps, views, s) {
  const key = keyOf(views, s);
  const own = await Promise.all(
    views.map(async (view, i) =>
      key === "cluster"
        ? (await explorer.clusters(maps[i], s.clustering)).column
        : view.columns.find((column) => column.key === key),
    ),
  );
  const first = own.find(Boolean);
  const alike = own.map((column) => (column?.kind === first?.kind ? (column ?? null) : null));
  const found = alike.filter(Boolean);
  if (!found.length) return alike;
  return first.kind === "number" ? sameRange(alike, found) : sameLevels(alike, found);
}

function sameRange(columns, found) {
  let low = Infinity,
    high = -Infinity;
  for (const { values } of found)
    for (const value of values) {
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  const range = low > high ? [0, 1] : [low, high];
  return columns.map((column) => column && { ...column, range });
}

function sameLevels(columns, found) {
  const ofRun = found[0].key === "complex" ? explorer.homeComplexes() : [];
  const levels = [...new Set([...ofRun, ...found.flatMap((column) => column.levels)])];
  const place = new Map(levels.map((level, code) => [level, code]));
  return columns.map((column) => {
    if (!column) return null;
    const codes = column.levels.map((level) => place.get(level));
    return { ...column, levels, codes: column.codes.map((code) => (code < 0 ? code : codes[code])) };
  });
}

// From a column to colours, marks and a legend.

import { QUIET } from "./explorer.js";

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"];
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const GREY = -2; // code of genes without evidence of a phenotype

/** Colours and marks of genes by a column, and its legend: { codes, entries | scale }. Quiet rows are grey. */
export function colouring(column, quiet) {
  if (!column) return { marker: { color: css("--dot"), symbol: "circle" }, label: "", codes: [], entries: [] };
  if (column.kind === "number") return shaded(column);
  return sorted({ ...column, codes: column.codes.map((code, row) => (quiet[row] ? GREY : code)) });
}

function sorted(column) {
  const shades = Array.from({ length: 10 }, (_, i) => css(`--c${i}`));
  const faint = css("--dot");
  const used = new Map();
  column.codes.forEach((code) => used.set(code, (used.get(code) || 0) + 1));
  const entries = column.levels
    .map((name, code) => ({
      name,
      code,
      n: used.get(code) || 0,
      colour: shades[code % 10],
      symbol: SYMBOLS[Math.floor(code / 10) % SYMBOLS.length],
    }))
    .filter((entry) => entry.n);
  if (used.has(-1))
    entries.push({
      name: { complex: "no known complex", phenotype: "not tested" }[column.key] || "none",
      code: -1,
      n: used.get(-1),
      colour: faint,
      symbol: "circle",
    });
  if (used.has(GREY))
    entries.push({ name: QUIET, code: GREY, n: used.get(GREY), colour: css("--muted"), symbol: "circle-open" });
  const look = new Map(entries.map((entry) => [entry.code, entry]));
  return {
    marker: {
      color: column.codes.map((code) => look.get(code).colour),
      symbol: column.codes.map((code) => look.get(code).symbol),
    },
    label: column.label,
    codes: column.codes,
    entries,
  };
}

function shaded(column) {
  const [low, high] = column.range;
  const stops = css("--scale").split(" ");
  // Cell numbers and the like span orders of magnitude.
  const logarithmic = low > 0 && high / low > 20;
  const scale = (value) => (logarithmic ? Math.log10(value) : value);
  const unknown = css("--dot");
  return {
    marker: {
      color: column.values.map((value) => (value === null ? unknown : scale(value))),
      symbol: "circle",
      cmin: scale(low),
      cmax: high > low ? scale(high) : scale(low) + 1,
      colorscale: stops.map((colour, i) => [i / (stops.length - 1), colour]),
      showscale: false,
    },
    label: column.label,
    codes: [],
    entries: [],
    scale: {
      low,
      high,
      logarithmic,
      gradient: `linear-gradient(to right, ${stops.join(",")})`,
      unknown: column.values.includes(null) ? unknown : null,
    },
  };
}

const SHAPES = {
  "circle-open": "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zM6 2.6a3.4 3.4 0 1 1 0 6.8a3.4 3.4 0 1 1 0-6.8z",
  circle: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z",
  square: "M2 2h8v8h-8z",
  diamond: "M6 .8l5 5.2-5 5.2-5-5.2z",
  "triangle-up": "M6 1l5 9.5h-10z",
  cross: "M4.3 1h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
  star: "M6 .6l1.5 3.8 4 .2-3.1 2.6 1 4-3.4-2.2-3.4 2.2 1-4-3.1-2.6 4-.2z",
};

/** The mark of a legend entry. */
export function mark(symbol, colour) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[symbol] || SHAPES.circle);
  path.setAttribute("fill", colour);
  svg.append(path);
  return svg;
}

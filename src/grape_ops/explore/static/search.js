// Finding genes: symbols, aliases, complexes, clusters, or a pasted list.

import * as explorer from "./explorer.js";
import { $, el, plural, tell } from "./dom.js";
import * as state from "./state.js";

const MOST = 10;
let at = -1;

const words = (text) => text.split(/[\s,;|]+/).filter(Boolean);

/** What a text may mean, best first: { text, note, act }. */
async function meanings(text) {
  const wanted = text.trim().toUpperCase();
  if (!wanted) return [];
  const found = [...groups(wanted), ...(await clusters(wanted))];
  const list = words(text);
  if (list.length > 1 && !found.some((entry) => entry.whole)) {
    const genes = list.map(explorer.find);
    const unknown = list.filter((_, i) => genes[i] === undefined);
    const known = [...new Set(genes.filter((gene) => gene !== undefined))];
    if (known.length)
      return [
        {
          text: `Select ${plural(known.length, "gene")}`,
          note: unknown.length ? `not here: ${some(unknown)}` : "",
          act: () => chooseAll(known, unknown),
        },
        ...found,
      ];
    return found.length ? found : [{ text: "None of these is a gene of this run", note: some(list) }];
  }
  const genes = [...singles(wanted), ...found];
  return genes.length
    ? genes.slice(0, MOST)
    : [{ text: `No gene, complex or cluster like ${text.trim()}`, note: "symbols and aliases, upper or lower case" }];
}

const some = (list) => list.slice(0, 5).join(", ") + (list.length > 5 ? ` and ${list.length - 5} more` : "");

function singles(wanted) {
  const starts = [],
    holds = [],
    others = [];
  explorer.overview.genes.forEach((symbol, gene) => {
    const place = symbol.toUpperCase().indexOf(wanted);
    if (place >= 0) (place ? holds : starts).push({ gene, note: explorer.complexesOf(gene).join("; ") });
  });
  for (const [alias, symbol] of Object.entries(explorer.overview.aliases)) {
    if (alias.toUpperCase().startsWith(wanted)) others.push({ gene: explorer.find(symbol), note: `also called ${alias}` });
  }
  starts.sort((a, b) => explorer.name(a.gene).length - explorer.name(b.gene).length);
  const seen = new Set();
  return [...starts, ...others, ...holds]
    .filter(({ gene }) => gene !== undefined && !seen.has(gene) && seen.add(gene))
    .slice(0, MOST - 2)
    .map(({ gene, note }) => ({ text: explorer.name(gene), note, act: () => chooseOne(gene) }));
}

function groups(wanted) {
  return explorer.overview.complexes
    .filter(({ name, genes }) => genes.length && name.toUpperCase().includes(wanted))
    .slice(0, 3)
    .map(({ name, genes }) => ({
      text: name,
      note: `complex, ${plural(genes.length, "gene")}`,
      whole: true,
      act: () => chooseAll(genes, []),
    }));
}

async function clusters(wanted) {
  const number = /^CLUSTER\s*(\d+)$/.exec(wanted);
  if (!number || !explorer.overview.maps.length) return [];
  const { map, clustering } = state.get();
  const found = await explorer.clusters(map, clustering).catch(() => null);
  const genes = found?.members.get(Number(number[1]));
  return genes
    ? [
        {
          text: `Cluster ${number[1]}`,
          note: plural(genes.length, "gene"),
          whole: true,
          act: () => chooseAll(genes, []),
        },
      ]
    : [];
}

function chooseOne(gene) {
  const { tab } = state.get();
  state.set({ gene, tab: ["gene", "cells"].includes(tab) ? tab : "gene" });
}

function chooseAll(genes, unknown) {
  state.set({ selection: genes, tab: "selection" });
  tell(
    unknown.length
      ? `${plural(genes.length, "gene")} selected; not in this run: ${some(unknown)}`
      : `${plural(genes.length, "gene")} selected`,
  );
}

function close() {
  $("suggestions").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  at = -1;
  pointAt();
}

function show(entries) {
  const list = $("suggestions");
  at = entries.findIndex((entry) => entry.act);
  list.replaceChildren(
    ...entries.map((entry, i) =>
      el(
        "li",
        {
          role: "option",
          id: `found-${i}`,
          "aria-selected": String(i === at),
          "aria-disabled": entry.act ? null : "true",
          onpointerdown: (event) => {
            event.preventDefault();
            choose(entry);
          },
        },
        el("span", { text: entry.text }),
        entry.note ? el("small", { text: entry.note }) : "",
      ),
    ),
  );
  list.entries = entries;
  list.hidden = !entries.length;
  $("search").setAttribute("aria-expanded", String(Boolean(entries.length)));
  pointAt();
}

/** Tell screen readers which entry is chosen. */
function pointAt() {
  if (at < 0) $("search").removeAttribute("aria-activedescendant");
  else $("search").setAttribute("aria-activedescendant", `found-${at}`);
}

function choose(entry) {
  if (!entry || !entry.act) return;
  entry.act();
  close();
  $("search").value = "";
  $("search").blur();
}

function move(step) {
  const list = $("suggestions");
  if (list.hidden) return;
  at = (at + step + list.children.length) % list.children.length;
  [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
  pointAt();
}

export function begin() {
  const box = $("search");
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    const entries = await meanings(box.value);
    if (mine === asked) show(entries);
  };
  box.addEventListener("input", look);
  box.addEventListener("focus", () => box.value && look());
  box.addEventListener("blur", close);
  // A list pasted from a spreadsheet comes in lines, which an input would join to one word.
  box.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!/[\r\n\t]/.test(text)) return;
    event.preventDefault();
    box.value = words(text).join(" ");
    look();
  });
  box.addEventListener("keydown", async (event) => {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      move(1);
    } else if (event.key === "ArrowUp") {
      event.preventDefault();
      move(-1);
    } else if (event.key === "Escape") {
      box.value = "";
      close();
      box.blur();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const entries = $("suggestions").hidden ? await meanings(box.value) : $("suggestions").entries;
      choose(entries[at >= 0 ? at : 0]);
    }
  });
}

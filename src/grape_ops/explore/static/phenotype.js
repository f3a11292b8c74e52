// Which genes have a phenotype: the first thing the page says, and the lines of a gene's card.

import * as explorer from "./explorer.js";
import { count, el, number, plural, probability, rich } from "./dom.js";
import { geneButton } from "./gene.js";

const distrusted = (guides, all, one, several) =>
  guides.length
    ? el("p", { class: "discordant", text: `${guides.length} of ${plural(all, "guide")} ${guides.length === 1 ? one : several}: ${guides.join(", ")}` })
    : null;

/** Whether the gene has a phenotype, and which guides contradict the others or do nothing. */
export function phenotype(card) {
  const { findings } = explorer.overview,
    found = card.phenotype;
  if (!findings) return null;
  if (!found) return el("p", { class: "phenotype quiet", text: "Not tested for a phenotype." });
  const numbers = `effect ${number(found.effect)}, q ${probability(found.q_value)}; ${found.agree} of ${plural(found.guides, "guide")} ${found.agree === 1 ? "agrees" : "agree"}`;
  return el(
    "div",
    { class: found.is_hit ? "phenotype" : "phenotype nophenotype" },
    el(
      "p",
      { title: "Guides agree that have p < 0.05 by themselves and change cells the way of the gene's other guides" },
      el("b", { text: found.is_hit ? "Phenotype" : "No evidence of a phenotype" }),
      `: ${numbers}${found.is_hit && found.channel ? `; most significant: ${found.channel}` : ""}`,
    ),
    distrusted(found.discordant, found.guides, "contradicts the others", "contradict the others"),
    distrusted(found.inactive, found.guides, "seems to do nothing", "seem to do nothing"),
  );
}

/** How many guides of a kind there are, and the genes they are of. */
function doubtful(pairs, one, several) {
  const n = pairs.reduce((sum, [, guides]) => sum + guides.length, 0);
  return el(
    "p",
    {},
    `${count(n)} ${n === 1 ? one : several}${n ? ": " : "."}`,
    pairs.slice(0, STRONGEST).map(([gene]) => [geneButton(explorer.find(gene), gene), " "]),
    pairs.length > STRONGEST ? "… (all in Screen)" : null,
  );
}

const STRONGEST = 40; // genes listed at the start of each kind

export function findings({ findings: found, missing }) {
  const title = el("dt", { text: "Genes with a phenotype" });
  if (!found) return [title, el("dd", {}, rich(missing.hits))];
  const { hits, n_genes: n, level, calibration } = found;
  const more = hits.length > STRONGEST ? `, the ${STRONGEST} most significant of them first` : "";
  return [
    title,
    el(
      "dd",
      { id: "findings" },
      el("b", { text: `${count(hits.length)} of ${plural(n, "gene")} at q < ${level}` }),
      `${more}. The other genes show no evidence of a phenotype; they are grey.`,
      el(
        "p",
        { class: "genes" },
        hits
          .slice(0, STRONGEST)
          .map(explorer.find)
          .filter((gene) => gene !== undefined)
          .map((gene) => geneButton(gene)),
      ),
      el("p", { class: "quiet" }, rich(`Calibration: ${calibration}`)),
    ),
    el("dt", { text: "Guides to distrust" }),
    el(
      "dd",
      { id: "distrust" },
      doubtful(
        found.discordant,
        "contradicts the other guides of its gene",
        "contradict the other guides of their gene",
      ),
      doubtful(found.inactive, "seems to do nothing", "seem to do nothing"),
    ),
  ];
}

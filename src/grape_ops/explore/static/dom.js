// Making elements. Text always goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

/** Make an element: el("p", { class: "quiet", text: "…", onclick: f }, child, …). */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) made.style.setProperty(key, v);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A box that scrolls sideways where its content is too wide for the screen, and says so. */
export function scrolling(...content) {
  const box = el("div", { class: "scroll" }, content);
  new ResizeObserver(() => box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1)).observe(box);
  return box;
}

/** What Plotly would take for markup, made plain. */
export const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
export const plural = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

/** p- and q-values as people write them: 0.021, 3e-08. */
export function probability(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 0.001) return String(Number(value.toPrecision(2)));
  return value.toExponential(0).replace(/e([+-])(\d)$/, "e$10$2");
}

/** A sentence as nodes; what stands between backticks becomes code. */
export function rich(text) {
  const parts = String(text).split("`");
  if (parts.length % 2 === 0) parts.push(parts.splice(-2).join("`")); // a lone backtick opens nothing
  return parts.map((part, i) => (i % 2 ? el("code", { text: part }) : part));
}

/**
 * Put new content into a panel. The keyboard's focus goes to the control with the `data-focus` of the one that had it, at
 * once or when it comes back after a message; until then to the panel.
 */
export function refill(panel, ...content) {
  const active = document.activeElement,
    inside = panel.contains(active);
  const key = active === panel ? panel.heldFocus : inside ? active.dataset.focus : undefined;
  panel.replaceChildren(...content);
  panel.heldFocus = key;
  if (!inside) return;
  const again = key !== undefined && panel.querySelector(`[data-focus="${CSS.escape(key)}"]`);
  (again || panel).focus({ preventScroll: true });
}

let hide;
/** A short message at the foot of the page. */
export function tell(text) {
  const status = $("status");
  status.replaceChildren(...rich(text));
  status.classList.add("shown");
  clearTimeout(hide);
  hide = setTimeout(() => status.classList.remove("shown"), 4500);
}

/** Hand a file to the user. */
export function save(content, name, type) {
  const link = el("a", {
    href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })),
    download: name,
  });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** What stands in a panel until its content has come. */
export const waiting = (text) => el("p", { class: "waiting quiet", role: "status" }, el("i"), text);

/** A panel that has nothing to show says why, and what brings it. */
export const empty = (title, text) => el("div", { class: "empty" }, el("h3", { text: title }), el("p", {}, rich(text)));

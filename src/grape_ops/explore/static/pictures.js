// Crops on canvases: taken out of a view, single channels in grey, several as a composite, at the same contrast everywhere.

import * as explorer from "./explorer.js";
import { $, el } from "./dom.js";
import * as state from "./state.js";

/** Which channels are on; the first four of a screen with more. */
export const shown = () => {
  const { channels } = explorer.overview,
    chosen = state.get().channels;
  return channels.map((_, i) => (chosen ? Boolean(chosen[i]) : i < 4));
};

/** Black and white point of each channel, in percent of what its pictures hold. */
export const contrast = () =>
  state.get().contrast ?? explorer.overview.channels.map((channel) => [0, Math.max(1, Math.round(100 * channel.white))]);

const colourOf = (channel) => [1, 3, 5].map((i) => parseInt(channel.colour.slice(i, i + 2), 16) / 255);

const KNEE = 0.6 * 255; // from here on light is compressed instead of clipped
/** What a pixel of this brightest colour is dimmed by as a whole, which keeps hue and structure. */
const dimmed = (most) =>
  most > KNEE ? (KNEE + (255 - KNEE) * (1 - Math.exp((KNEE - most) / (255 - KNEE)))) / most : 1;

/** Paint columns of a view's row on a canvas; a single channel is grey unless `tinted`. */
function paint(canvas, view, row, first, n, on) {
  const { channels, crop_size: size } = explorer.overview;
  const width = n * size;
  const active = channels.map((_, c) => c).filter((c) => on[c]);
  const mixed = new ImageData(width, size);
  // Several stains over one nucleus add up to white: darker middle tones, and less light the more channels there are.
  const light = Math.min(1, 2.4 / Math.max(1, active.length));
  const ends = contrast();
  const tones = active.map((c) => {
    const [black, white] = ends[c];
    return Float32Array.from({ length: 256 }, (_, grey) => {
      const level = Math.max(0, Math.min(1, (grey / 2.55 - black) / (white - black)));
      return 255 * (active.length === 1 ? level : light * level ** 1.25);
    });
  });
  const colours = active.map((c) => (active.length === 1 ? [1, 1, 1] : colourOf(channels[c])));
  for (let y = 0; y < size; y++)
    for (let x = 0; x < width; x++) {
      let r = 0,
        g = 0,
        b = 0;
      active.forEach((c, i) => {
        const value = tones[i][view.grey[((row * channels.length + c) * size + y) * view.width + first * size + x]];
        r += value * colours[i][0];
        g += value * colours[i][1];
        b += value * colours[i][2];
      });
      const dim = active.length === 1 ? 1 : dimmed(Math.max(r, g, b));
      mixed.data.set([r * dim, g * dim, b * dim, 255], 4 * (y * width + x));
    }
  canvas.width = width;
  canvas.height = size;
  canvas.getContext("2d").putImageData(mixed, 0, 0);
  return canvas;
}

/** One crop as a canvas with words for those who do not see it. */
export function crop(view, row, column, label, on = shown()) {
  const canvas = el("canvas", { role: "img", "aria-label": label, class: "crop" });
  canvas.repaint = () => paint(canvas, view, row, column, 1, on);
  return canvas.repaint();
}

/** A scale bar for a crop shown at any size, if the size of a pixel is known. */
export function scaleBar() {
  const { pixel_size: pixel, crop_size: size } = explorer.overview;
  if (!pixel) return null;
  const length = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2].find((um) => um / pixel <= size / 2) ?? 0.1;
  return el(
    "span",
    { class: "scalebar", style: { "--length": `${(100 * length) / pixel / size}%` } },
    el("i"),
    el("small", { text: `${length} µm` }),
  );
}

/** Composite or one channel, and chips that switch channels of the composite; the last one stays on. */
export function channelChips() {
  const { channels } = explorer.overview,
    on = shown();
  const set = (next) => next.some(Boolean) && state.set({ channels: next });
  const chips = channels.map((channel, c) => {
    const chip = el(
      "button",
      {
        class: "chip channel",
        "data-focus": `channel-${c}`,
        "aria-pressed": String(on[c]),
        title: `${channel.name} on or off; double click shows it alone`,
        onclick: () => set(on.map((v, i) => (i === c ? !v : v))),
        ondblclick: () => set(on.map((_, i) => i === c)),
      },
      el("i", { style: { background: channel.colour } }),
      el("span", { text: channel.name }),
    );
    return chip;
  });
  const alone =
    channels.length > 1
      ? channels.map((channel, c) =>
          el("button", {
            "data-focus": `alone-${c}`,
            text: channel.name,
            "aria-pressed": String(on[c] && on.filter(Boolean).length === 1),
            onclick: () => set(on.map((_, i) => i === c)),
          }),
        )
      : [];
  const all =
    channels.length > 1
      ? el("button", {
          "data-focus": "composite",
          text: "Composite",
          "aria-pressed": String(on.filter(Boolean).length > 1),
          onclick: () => set(channels.map((_, i) => i < 4)),
        })
      : null;
  return [
    channels.length > 1
      ? el("span", { class: "choice", role: "group", "aria-label": "Composite or one channel" }, all, alone)
      : null,
    on.filter(Boolean).length > 1
      ? el("span", { class: "chips", role: "group", "aria-label": "Channels of the composite" }, chips)
      : null,
  ];
}

let isOpen = false;

/** Black and white points of the channels, shared by all pictures of the page. */
export function contrastSliders() {
  const { channels } = explorer.overview;
  const slider = (c, end) =>
    el("input", {
      type: "range",
      min: end,
      max: 99 + end,
      value: contrast()[c][end],
      "data-end": `${c}-${end}`,
      "data-focus": `contrast-${c}-${end}`,
      "aria-label": `${end ? "White" : "Black"} point of ${channels[c].name}`,
      oninput: (event) => {
        const next = contrast().map((ends) => [...ends]);
        const value = Number(event.target.value);
        next[c] = end ? [Math.min(next[c][0], value - 1), value] : [value, Math.max(next[c][1], value + 1)];
        state.set({ contrast: next }, true);
      },
    });
  return el(
    "details",
    { class: "contrast", open: isOpen, ontoggle: (event) => (isOpen = event.target.open) },
    el("summary", { "data-focus": "contrast", text: "Contrast" }),
    el(
      "div",
      {},
      channels.map((channel, c) => [el("span", { text: channel.name }), slider(c, 0), slider(c, 1)]),
      el("button", { "data-focus": "reset", text: "Reset", onclick: () => state.set({ contrast: null }) }),
      el("small", { class: "quiet", text: "Black and white point of each channel, for all pictures." }),
    ),
  );
}

/** Show the contrast in every picture and slider without making them anew: a slider is being dragged. */
export function applyContrast() {
  document.querySelectorAll("canvas.crop").forEach((canvas) => canvas.repaint());
  document.querySelectorAll(".contrast input").forEach((input) => {
    const [c, end] = input.dataset.end.split("-");
    input.value = contrast()[c][end];
  });
}

/** A cell at full size: the composite and every channel. */
export function enlarge(view, row, column, title, where) {
  const dialog = $("large"),
    { channels } = explorer.overview;
  const one = (name, on) =>
    el(
      "figure",
      {},
      el("div", { class: "big" }, crop(view, row, column, `${title}, ${name}`, on), scaleBar()),
      el("figcaption", { text: name }),
    );
  const all =
    channels.length > 1
      ? [
          one(
            "Composite",
            channels.map((_, i) => i < 4),
          ),
        ]
      : [];
  dialog.replaceChildren(
    el(
      "header",
      {},
      el("div", {}, el("h2", { text: title }), el("p", { class: "quiet", text: where })),
      el("button", { text: "Close", autofocus: true, onclick: () => dialog.close() }),
    ),
    el(
      "div",
      { class: "bigs" },
      all,
      channels.map((channel, c) =>
        one(
          channel.name,
          channels.map((_, i) => i === c),
        ),
      ),
    ),
  );
  dialog.showModal();
}

addEventListener("click", (event) => {
  if (event.target === $("large") || event.target === $("keys")) event.target.close();
});

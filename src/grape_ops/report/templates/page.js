"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  // What stands between backticks is a command.
  const withCommands = (text) => text.split("`").map((part, i) => (i % 2 ? element("code", { textContent: part }) : part));
  const root = document.documentElement;
  const figures = read("data-figures");
  const map = read("data-map");
  const cells = read("data-cells");
  const check = read("data-check");

  // ---------------------------------------------------------------------------------------- light and dark
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const themeButton = document.getElementById("theme");
  let chosen = null;
  const theme = () => chosen || (dark.matches ? "dark" : "light");

  // Figures name colours as CSS variables; Plotly wants values.
  const coloured = (part) => {
    if (typeof part === "string") {
      const name = /^var\((--[a-z0-9]+)\)$/.exec(part);
      return name ? getComputedStyle(root).getPropertyValue(name[1]).trim() : part;
    }
    if (Array.isArray(part)) return part.map(coloured);
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, coloured(value)]));
    }
    return part;
  };
  const config = (name) => ({
    displaylogo: false,
    responsive: true,
    scrollZoom: name === "gene-map",
    modeBarButtons: [name === "gene-map" ? ["zoom2d", "pan2d", "resetScale2d", "toImage"] : ["toImage"]],
    toImageButtonOptions: { format: "svg", filename: name },
  });
  let mapIsNarrow = false; // its legend is then below it, for want of room beside it
  const isNarrow = (place) => place.clientWidth < 760;
  const draw = (name) => {
    const place = document.getElementById("fig-" + name);
    if (!place) return Promise.resolve();
    const figure = coloured(figures[name]);
    if (name === "gene-map") mapIsNarrow = isNarrow(place);
    if (name === "gene-map" && mapIsNarrow) figure.layout.legend = { ...figure.layout.legend, orientation: "h", x: 0, y: -0.02, yanchor: "top" };
    if (figure.layout.meta && isNarrow(place)) {
      Object.assign(figure.layout.xaxis, figure.layout.meta.narrow);
      Object.assign(figure.data[0].colorbar, { orientation: "h", y: 1.02, yanchor: "bottom", len: 0.8 });
      figure.layout.margin = { ...figure.layout.margin, t: 70 };
      figure.layout.height += 60;
    }
    place.style.height = figure.layout.height + "px"; // what a resize of the window fits the figure into
    return Plotly.react(place, figure.data, figure.layout, config(name));
  };
  window.addEventListener("resize", () => {
    const place = document.getElementById("fig-gene-map");
    if (place && isNarrow(place) !== mapIsNarrow) draw("gene-map");
  });
  const drawAll = () => Promise.all(Object.keys(figures).map(draw));
  const applyTheme = () => {
    root.dataset.theme = theme();
    themeButton.textContent = theme() === "dark" ? "Light" : "Dark";
    themeButton.setAttribute("aria-pressed", String(theme() === "dark"));
    return drawAll();
  };
  themeButton.addEventListener("click", () => { chosen = theme() === "dark" ? "light" : "dark"; applyTheme(); });
  dark.addEventListener("change", () => applyTheme());

  // ---------------------------------------------------------------------------------------------- gene map
  const LISTED = 40; // names that a search lists, and labels on the map
  const PAUSE = 150; // milliseconds without a key before the map is drawn anew
  const setUpMap = () => {
    const place = document.getElementById("fig-gene-map");
    const search = document.getElementById("search");
    const found = document.getElementById("found");
    const projection = document.getElementById("projection");
    const traces = figures["gene-map"].data;
    const sizes = traces.map((trace) => trace.marker.size);
    const rowOf = new Map(map.names.map((name, row) => [name.toLowerCase(), row]));

    const matches = () => {
      const words = search.value.toLowerCase().split(/[\s,;]+/).filter(Boolean);
      const rows = new Set();
      words.forEach((word) => {
        if (rowOf.has(word)) rows.add(rowOf.get(word));
        else map.names.forEach((name, row) => { if (name.toLowerCase().startsWith(word)) rows.add(row); });
      });
      return { asked: words.length > 0, rows };
    };
    const quiet = new Set(map.quiet);
    const link = (name) => {
      const button = element("button", { type: "button", textContent: name });
      if (quiet.has(name)) Object.assign(button, { className: "quiet", title: "no evidence of a phenotype" });
      button.addEventListener("click", () => { search.value = name; highlight(); });
      return button;
    };
    const tell = (asked, rows) => {
      found.replaceChildren();
      if (!asked) return;
      if (rows.size === 0) { found.append("No gene of this run starts with that."); return; }
      if (rows.size > 1) {
        const more = rows.size > LISTED ? " and " + (rows.size - LISTED).toLocaleString("en") + " more" : "";
        found.append(rows.size.toLocaleString("en") + " genes: " + [...rows].slice(0, LISTED).map((row) => map.names[row]).join(", ") + more);
        return;
      }
      const [row] = rows;
      const name = map.names[row];
      const near = map.near[name] || [];
      const complexes = map.complexes[row];
      found.append(element("strong", { textContent: name }), complexes.length ? " (" + complexes.join(", ") + ")" : "");
      if (quiet.has(name)) found.append(" · no evidence of a phenotype: its neighbours mean little");
      if (near.length) found.append(" · nearest by cosine: ");
      near.forEach(([other, cosine], i) => found.append(i ? ", " : "", link(other), " " + cosine.toFixed(2)));
      const repeats = map.places[name];
      if (repeats) found.append(" · ", element("span", { className: repeats.status === "significant" ? "" : "doubt", textContent: repeats.words }));
    };
    const label = (trace, k) => ({
      x: trace.x[k], y: trace.y[k], yshift: 20, showarrow: false, bgcolor: "var(--surface)", borderpad: 1,
      text: "<b>" + map.names[trace.customdata[k]].replace(/&/g, "&amp;").replace(/</g, "&lt;") + "</b>",
    });
    // A name that would lie over one that is shown is left out; pointing at its mark shows it.
    const overlap = (a, b) => {
      const { xaxis, yaxis } = place._fullLayout;
      const letters = a.text.length + b.text.length - 14; // without <b></b>
      return Math.abs(xaxis.l2p(a.x) - xaxis.l2p(b.x)) < 4 * letters && Math.abs(yaxis.l2p(a.y) - yaxis.l2p(b.y)) < 18;
    };
    const highlight = () => {
      const { asked, rows } = matches();
      const labels = [];
      // The stored figure changes, so that a change of theme draws the highlight again.
      traces.forEach((trace, i) => {
        const hit = trace.customdata.map((row) => asked && rows.has(row));
        trace.marker.size = hit.map((yes) => (yes ? sizes[i] + 8 : sizes[i]));
        trace.marker.opacity = hit.map((yes) => (asked && !yes ? 0.22 : 1));
        hit.forEach((yes, k) => {
          const made = yes && labels.length < LISTED && label(trace, k);
          if (made && !labels.some((other) => overlap(made, other))) labels.push(made);
        });
      });
      figures["gene-map"].layout.annotations = labels;
      tell(asked, rows);
      return draw("gene-map");
    };
    let typing;
    search.addEventListener("input", () => {
      const { asked, rows } = matches();
      tell(asked, rows);
      clearTimeout(typing);
      typing = setTimeout(highlight, PAUSE);
    });
    projection.addEventListener("change", () => {
      const plane = map.planes[projection.value];
      traces.forEach((trace) => {
        trace.x = trace.customdata.map((row) => plane[row][0]);
        trace.y = trace.customdata.map((row) => plane[row][1]);
      });
      // A view zoomed into the other projection would show nothing.
      ["xaxis", "yaxis"].forEach((axis) => { if (place.layout) place.layout[axis].autorange = true; });
      highlight().then(() => Plotly.relayout(place, { "xaxis.autorange": true, "yaxis.autorange": true }));
    });
    place.on("plotly_click", (event) => {
      const name = map.names[event.points[0].customdata];
      search.value = name;
      highlight();
      const at = cells ? cells.genes.findIndex((gene) => gene.name === name) : -1;
      if (at >= 0) showGene(at);
    });
  };

  // ------------------------------------------------------------------------------------------------- cells
  let showGene = () => {};
  const setUpCells = () => {
    const panels = document.getElementById("panels");
    const picker = document.getElementById("gene");
    const views = document.getElementById("views");
    const trust = document.getElementById("trust");
    const caption = document.getElementById("cells-caption");
    const several = cells.channels.length > 1;
    const shownIn = cells.channels.map((_, i) => i < 4);
    let view = several ? "all" : 0;
    panels.style.setProperty("--n", cells.n);

    const fit = (strip, picture, width, height) => {
      picture.style.width = (100 * width) / (cells.n * height) + "%";
      // Below twice its size a crop is drawn smoothly: pixels of unequal width would look like structure.
      strip.classList.toggle("crisp", strip.clientWidth >= 2 * cells.n * height);
    };
    const single = (uri, label) => {
      const picture = element("img", { alt: label, src: uri });
      const strip = element("div", { className: "strip" }, picture);
      picture.addEventListener("load", () => fit(strip, picture, picture.naturalWidth, picture.naturalHeight));
      return strip;
    };
    const composite = (uris, label) => {
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
      const strip = element("div", { className: "strip" }, canvas);
      Promise.all(uris.map((uri) => { const image = new Image(); image.src = uri; return image.decode().then(() => image); }))
        .then((images) => mix(canvas, images))
        .then(() => fit(strip, canvas, canvas.width, canvas.height));
      return strip;
    };
    // Four stains over one nucleus add up to white: darker middle tones, and less light the more channels there are.
    const light = () => Math.min(1, 2.4 / shownIn.filter(Boolean).length);
    const knee = 0.6 * 255;
    const mix = (canvas, images) => {
      const { naturalWidth: width, naturalHeight: height } = images[0];
      const scratch = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
      const sum = new Float32Array(width * height * 3);
      const tone = Float32Array.from({ length: 256 }, (_, grey) => 255 * light() * (grey / 255) ** 1.25);
      images.forEach((image, c) => {
        if (!shownIn[c]) return;
        const colour = [1, 3, 5].map((i) => parseInt(cells.channels[c].colour.slice(i, i + 2), 16) / 255);
        scratch.drawImage(image, 0, 0);
        const grey = scratch.getImageData(0, 0, width, height).data;
        for (let p = 0; p < width * height; p++) for (let k = 0; k < 3; k++) sum[3 * p + k] += tone[grey[4 * p]] * colour[k];
      });
      canvas.width = width;
      canvas.height = height;
      const mixed = new ImageData(width, height);
      for (let p = 0; p < width * height; p++) {
        // Bright pixels are dimmed as a whole, the more the brighter, which keeps hue and structure.
        const most = Math.max(sum[3 * p], sum[3 * p + 1], sum[3 * p + 2]);
        const dim = most > knee ? (knee + (255 - knee) * (1 - Math.exp((knee - most) / (255 - knee)))) / most : 1;
        for (let k = 0; k < 3; k++) mixed.data[4 * p + k] = dim * sum[3 * p + k];
        mixed.data[4 * p + 3] = 255;
      }
      canvas.getContext("2d").putImageData(mixed, 0, 0);
    };
    const scaleBar = () => {
      if (!cells.pixel_size) return "";
      const length = [100, 50, 20, 10, 5, 2, 1, 0.5, 0.2].find((um) => um / cells.pixel_size <= cells.size / 2) || 0.1;
      const bar = element("span", { className: "scalebar" }, element("small", { textContent: length + " µm" }), element("i"));
      bar.style.setProperty("--length", (100 * length) / cells.pixel_size / cells.size / cells.n + "%");
      return bar;
    };
    const chip = (channel, c) => {
      const button = element("button", { type: "button", className: "chip" }, element("i"), channel.name);
      button.style.setProperty("--dot", channel.colour);
      button.setAttribute("aria-pressed", String(shownIn[c]));
      button.addEventListener("click", () => { shownIn[c] = !shownIn[c]; show(); });
      return button;
    };
    const styleOf = (part) => part.status.replace(" ", "-");
    const group = (which, gene) => {
      const isMix = which === "composite";
      const heading = isMix ? element("h3", {}, "Composite", ...cells.channels.map(chip)) : element("h3", {}, cells.channels[which].name);
      const doubts = { "not significant": " (not significant)", "no phenotype": " (no evidence of a phenotype)" };
      const mark = doubts[gene.trust.status] || "";
      const rows = [
        ["control", cells.control, "real control cells"],
        ["restyled to control", cells.unchanged, "the same control cells restyled to control"],
        ["restyled to " + gene.name + mark, gene.restyled, "the same control cells restyled to " + gene.name + mark],
        [gene.name + " knock-out", gene.knockout, "real cells with a knock-out of " + gene.name],
      ].map(([label, uris, words], i) => {
        const alt = words + ", " + (isMix ? "composite" : cells.channels[which].name);
        const strip = isMix ? composite(uris, alt) : single(uris[which], alt);
        if (i === 0) strip.append(scaleBar());
        return element("div", { className: i === 2 ? "row middle " + styleOf(gene.trust) : "row" },
          element("span", { className: "label", textContent: label }), strip);
      });
      return element("div", { className: "group" }, heading, ...rows);
    };
    const show = () => {
      const gene = cells.genes[Number(picker.value)];
      const all = several ? ["composite", ...cells.channels.keys()] : [0];
      panels.classList.toggle("one", view !== "all");
      panels.replaceChildren(...(view === "all" ? all : [view]).map((which) => group(which, gene)));
      views.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === String(view))));
      trust.className = "trust " + styleOf(gene.trust);
      trust.replaceChildren(element("strong", { textContent: gene.name }), ": ", ...withCommands(gene.trust.words), ".");
      caption.textContent = gene.name + (gene.complexes.length ? " (" + gene.complexes.join(", ") + ")" : "") + ", "
        + gene.n_cells.toLocaleString("en") + " cells in the screen. Columns of the three upper rows are the same cells."
        + (check && check.results[gene.name] ? " Phenotype check: " + check.results[gene.name] + "." : "");
      const top = (check && check.features[gene.name]) || [];
      if (top.length) caption.textContent += " Features that separate its cells from control: " + top.join(", ").replace(/_/g, " ") + ".";
    };
    showGene = (at) => { picker.value = String((at + cells.genes.length) % cells.genes.length); show(); };
    picker.addEventListener("change", show);
    document.getElementById("previous").addEventListener("click", () => showGene(Number(picker.value) - 1));
    document.getElementById("next").addEventListener("click", () => showGene(Number(picker.value) + 1));
    if (several) {
      [["all", "All"], ["composite", "Composite"], ...cells.channels.map((channel, c) => [c, channel.name])].forEach(([key, name]) => {
        const button = element("button", { type: "button", textContent: name });
        button.dataset.view = String(key);
        button.addEventListener("click", () => { view = key; show(); });
        views.append(button);
      });
    }
    show();
  };

  applyTheme().then(() => {
    if (map) setUpMap();
    if (cells) setUpCells();
    root.dataset.ready = "true";
  });
})();

(() => {
  // Search and order of the tables of genes; the rows themselves are in the page.
  const text = (row, column) => row.cells[column]?.textContent.trim() ?? "";
  const number = (value) => {
    const read = parseFloat(value.replace(/,/g, "").replace("−", "-"));
    return Number.isNaN(read) ? -Infinity : read;
  };

  // Columns are found by their headings: some are there in some runs only.
  const WORDS = ["gene", "complex", "restyling", "nearest genes", "top channel", "guides to distrust"];

  const setUp = (name, hit, filtered = () => {}) => {
    const table = document.getElementById("table-" + name);
    if (!table) return;
    const search = document.getElementById(name === "genes" ? "table-search" : name + "-search");
    const found = document.getElementById(name === "genes" ? "table-found" : name + "-found");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    const columns = headings.map((heading) => heading.textContent.trim());
    const cell = (row, heading) => text(row, columns.indexOf(heading));
    const filter = () => {
      const wanted = search.value.toLowerCase().split(/[,;]+/).map((word) => word.trim()).filter(Boolean);
      const shown = rows.filter((row) => {
        row.hidden = wanted.length > 0 && !wanted.some((word) => hit(word, (heading) => cell(row, heading)));
        return !row.hidden;
      });
      filtered(wanted, shown.map((row) => cell(row, "cluster")));
      const total = rows.length.toLocaleString("en");
      found.textContent = wanted.length ? shown.length.toLocaleString("en") + " of " + total + " genes" : total + " genes";
    };
    search.addEventListener("input", filter);
    headings.forEach((heading, column) => {
      const words = WORDS.includes(columns[column]);
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") === (words ? "ascending" : "descending") ? !words : words;
        table.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const order = (a, b) => (words ? text(a, column).localeCompare(text(b, column)) : number(text(a, column)) - number(text(b, column)));
        rows.sort((a, b) => (up ? order(a, b) : order(b, a)));
        body.append(...rows);
      });
    });
    table.addEventListener("click", (event) => {
      const gene = event.target.dataset.gene;
      const box = document.getElementById("search");
      if (gene === undefined || !box) return;
      box.value = gene;
      box.dispatchEvent(new Event("input"));
    });
    filter();
  };

  // A table that is too wide for the screen says that it scrolls.
  document.querySelectorAll(".scroll, .listing").forEach((box) => {
    new ResizeObserver(() => box.classList.toggle("sideways", box.scrollWidth > box.clientWidth + 1)).observe(box);
  });

  const clusters = [...(document.getElementById("table-clusters")?.tBodies[0].rows || [])];
  setUp(
    "genes",
    (wanted, cell) => {
      const cluster = /^cluster\s*(\d+)$/.exec(wanted);
      if (cluster) return cell("cluster") === cluster[1];
      return cell("gene").toLowerCase().startsWith(wanted) || cell("complex").toLowerCase().includes(wanted);
    },
    (wanted, shown) => {
      const kept = new Set(shown);
      clusters.forEach((row) => { row.hidden = wanted.length > 0 && !kept.has(text(row, 0)); });
    },
  );
  setUp(
    "hits",
    (wanted, cell) => cell("gene").toLowerCase().startsWith(wanted) || cell("top channel").toLowerCase() === wanted,
  );
})();

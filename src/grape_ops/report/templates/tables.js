(() => {
  // Search and order of the tables of genes; the rows themselves are in the page.
  const text = (row, column) => row.cells[column].textContent.trim();
  const number = (value) => {
    const read = parseFloat(value.replace(/,/g, "").replace("−", "-"));
    return Number.isNaN(read) ? -Infinity : read;
  };

  const setUp = (name, areWords, hit, filtered = () => {}) => {
    const table = document.getElementById("table-" + name);
    if (!table) return;
    const search = document.getElementById(name === "genes" ? "table-search" : name + "-search");
    const found = document.getElementById(name === "genes" ? "table-found" : name + "-found");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    const wordsAt = (column) => areWords(column, headings);
    const filter = () => {
      const wanted = search.value.toLowerCase().split(/[,;]+/).map((word) => word.trim()).filter(Boolean);
      const shown = rows.filter((row) => {
        row.hidden = wanted.length > 0 && !wanted.some((word) => hit(row, word));
        return !row.hidden;
      });
      filtered(wanted, shown);
      const total = rows.length.toLocaleString("en");
      found.textContent = wanted.length ? shown.length.toLocaleString("en") + " of " + total + " genes" : total + " genes";
    };
    search.addEventListener("input", filter);
    headings.forEach((heading, column) => {
      const words = wordsAt(column);
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
    (column, headings) => column < 2 || column === headings.length - 1,
    (row, wanted) => {
      const cluster = /^cluster\s*(\d+)$/.exec(wanted);
      if (cluster) return text(row, 2) === cluster[1];
      return text(row, 0).toLowerCase().startsWith(wanted) || text(row, 1).toLowerCase().includes(wanted);
    },
    (wanted, shown) => {
      const kept = new Set(shown.map((row) => text(row, 2)));
      clusters.forEach((row) => { row.hidden = wanted.length > 0 && !kept.has(text(row, 0)); });
    },
  );
  setUp(
    "hits",
    (column, headings) => ["gene", "top channel"].includes(headings[column].textContent),
    (row, wanted) => text(row, 0).toLowerCase().startsWith(wanted) || text(row, 1).toLowerCase() === wanted,
  );
})();

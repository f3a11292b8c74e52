(() => {
  // Search and order of the table of genes; the rows themselves are in the page.
  const table = document.getElementById("table-genes");
  if (!table) return;
  const search = document.getElementById("table-search");
  const found = document.getElementById("table-found");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const clusters = [...(document.getElementById("table-clusters")?.tBodies[0].rows || [])];
  const text = (row, column) => row.cells[column].textContent.trim();

  const hit = (row, wanted) => {
    const cluster = /^cluster\s*(\d+)$/.exec(wanted);
    if (cluster) return text(row, 2) === cluster[1];
    return text(row, 0).toLowerCase().startsWith(wanted) || text(row, 1).toLowerCase().includes(wanted);
  };
  const filter = () => {
    const wanted = search.value.toLowerCase().split(/[,;]+/).map((word) => word.trim()).filter(Boolean);
    const shown = rows.filter((row) => {
      row.hidden = wanted.length > 0 && !wanted.some((word) => hit(row, word));
      return !row.hidden;
    });
    const kept = new Set(shown.map((row) => text(row, 2)));
    clusters.forEach((row) => { row.hidden = wanted.length > 0 && !kept.has(text(row, 0)); });
    const total = rows.length.toLocaleString("en");
    found.textContent = wanted.length ? shown.length.toLocaleString("en") + " of " + total + " genes" : total + " genes";
  };
  search.addEventListener("input", filter);

  const number = (value) => {
    const read = parseFloat(value.replace(/,/g, "").replace("−", "-"));
    return Number.isNaN(read) ? -Infinity : read;
  };
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const words = column < 2 || column === table.tHead.rows[0].cells.length - 1;
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
})();

// Tables that can be sorted by a column, and folded parts that are opened for printing.

const PLAIN = Object.fromEntries(Object.entries(SUPERSCRIPT).map(([plain, raised]) => [raised, plain]));

/** The sort key of a cell: its number if it has one, otherwise its text. */
function sortKey(text) {
  const cell = text.trim();
  if (cell === "–" || cell === "") return null;
  let plain = cell.replace(/[,×%\s<]/g, "").replace(/−/g, "-");
  plain = plain.replace(/·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, power) => `e${[...power].map((c) => PLAIN[c]).join("")}`);
  if (plain === "∞") return Infinity;
  const parsed = Number.parseFloat(plain);
  return /^[-+]?[\d.]/.test(plain) && !Number.isNaN(parsed) ? parsed : cell;
}

function compare(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 2 || table.tHead.rows.length > 1) return;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map((row) => [sortKey(row.cells[column].textContent), row]);
      // Missing values stay at the end in both directions.
      keyed.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function openFoldsForPrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => details.setAttribute("open", ""));
  });
  addEventListener("afterprint", () => opened.forEach((details) => details.removeAttribute("open")));
}

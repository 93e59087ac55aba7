// Files made in the page: the selected cases as CSV, the figure as SVG and PNG.

/** The name of a selection's files, without ending. */
function fileName({ editor, model, dataset, grade, text }) {
  const parts = [editor, model, dataset, grade, text].filter(Boolean).map((part) => part.replace(/[^\p{L}\p{N}._-]+/gu, "_"));
  return parts.join("-") || "all-cases";
}

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A cell of a CSV table; a text that a spreadsheet would take for a formula begins with an apostrophe. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return value === Infinity ? "inf" : String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

/** The cases as CSV (RFC 4180), with the names of the columns of `summary/cases.parquet`. */
function csv(cases, columns) {
  const lines = [columns, ...cases.map((one) => columns.map((name) => one[name]))];
  return lines.map((line) => line.map(cell).join(",") + "\r\n").join("");
}

/** A picture of an SVG at twice its size. */
async function png(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = element("canvas", { width: 2 * image.width, height: 2 * image.height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

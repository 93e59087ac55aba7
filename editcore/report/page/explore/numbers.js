// Numbers and counts in words.

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const tenTo = (power) => "10" + [...String(power)].map((digit) => SUPERSCRIPT[digit]).join("");

/** A number with three digits; very large and small ones as a power of ten. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === Infinity) return "∞";
  const size = Math.abs(value);
  if (size && (size >= 1e7 || size < 1e-3)) {
    const power = Math.floor(Math.log10(size));
    return `${(value / 10 ** power).toFixed(2)}·${tenTo(power)}`;
  }
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

const count = (total) => total.toLocaleString("en");
const plural = (total, noun) => `${count(total)} ${noun}${total === 1 ? "" : "s"}`;

/** Names in a row, the first few of many. */
function listed(names, most = 3) {
  const more = names.length - most;
  return more > 1 ? `${names.slice(0, most).join(", ")} and ${more} more` : names.join(", ");
}

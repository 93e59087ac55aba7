// The axes' ranges, ticks and ends, for the chart and for the figure in a file.

/** The label of a power of ten. */
const power10 = (power) =>
  power >= -3 && power <= 4 ? (10 ** power).toLocaleString("en", { maximumFractionDigits: 3 }) : tenTo(power);

/** The positions of zero and infinity: half a decade outside the finite values. */
function ends(values) {
  const finite = values.filter((value) => value > 0 && Number.isFinite(value)).map(Math.log10);
  const low = finite.reduce((a, b) => Math.min(a, b), finite.length ? Infinity : 0);
  const high = finite.reduce((a, b) => Math.max(a, b), finite.length ? -Infinity : 0);
  return { zero: 10 ** (Math.floor(low) - 0.5), infinite: 10 ** (Math.ceil(high) + 0.5) };
}

/** A logarithmic axis for all values, with a margin and at least a decade long. */
function logAxis(title, values) {
  const { zero, infinite } = ends(values);
  const at = (value) => (value === Infinity ? infinite : value > 0 ? value : zero);
  const logs = values.map((value) => Math.log10(at(value)));
  let low = logs.reduce((a, b) => Math.min(a, b), logs.length ? Infinity : -1);
  let high = logs.reduce((a, b) => Math.max(a, b), logs.length ? -Infinity : 0);
  const short = Math.max(0, 1 - (high - low)) / 2;
  const margin = 0.06 * Math.max(1, high - low);
  [low, high] = [low - short - margin, high + short + margin];
  // Only powers of ten are labelled, and not all of them if there are many.
  const [first, last] = [Math.ceil(low), Math.floor(high)];
  const step = Math.max(1, Math.ceil((last - first + 1) / 8));
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push({ value: 10 ** power, label: power10(power) });
  if (values.includes(0)) ticks.push({ value: zero, label: "0" });
  if (values.includes(Infinity)) ticks.push({ value: infinite, label: "∞" });
  const inside = ({ value, label }) => label === "0" || label === "∞" || (value > zero && value < infinite);
  const span = (value) => (Math.log10(value) - low) / (high - low);
  return { title, at, span, type: "logarithmic", min: 10 ** low, max: 10 ** high, ticks: ticks.filter(inside) };
}

/** A linear axis of ranks from 1 to `total`. */
function rankAxis(title, total) {
  const margin = Math.max(1, 0.03 * total);
  const [min, max] = [1 - margin, total + margin];
  const rough = total / 6;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
  const ticks = [];
  for (let value = step; value <= total; value += step) ticks.push({ value, label: count(value) });
  return { title, at: (value) => value, span: (value) => (value - min) / (max - min), type: "linear", min, max, ticks };
}

/** Both axes and the marked levels of the edits that are drawn. */
function axesOf(drawn, quantity, thresholds) {
  const { title, of } = QUANTITIES[quantity];
  const wide = quantity === "rank" ? rankAxis(title, Math.max(1, ...drawn.map(of))) : logAxis(title, drawn.map(of));
  const ratios = drawn.map((one) => one.perplexity_ratio);
  const levels = [{ value: 1, words: "unedited", below: true }];
  if (thresholds.size === 1) {
    const [limit] = thresholds;
    levels.push({ value: limit, words: `collapsed above ×${number(limit)}` });
  }
  const high = logAxis("perplexity: edited / unedited", [0.7, 10, ...ratios, ...levels.map(({ value }) => value)]);
  if (ratios.includes(Infinity)) levels.push({ value: high.at(Infinity), words: "∞, no finite probabilities" });
  return { x: wide, y: high, levels };
}

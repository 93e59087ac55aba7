// The chart as an SVG file, with its title, axes, levels and legend.

const WIDTH = 900;
const HEIGHT = 600;
const LEFT = 80;
const RIGHT = 20;
const TOP = 48;
const LINE = 20;
const FONT = "system-ui, Helvetica, Arial, sans-serif";

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const fixed = (value) => value.toFixed(1);

function tag(name, attributes, content = "") {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
  return `<${name}${written.join("")}>${content}</${name}>`;
}

/** Rows of legend entries that fit into the width. */
function legendRows(entries) {
  const rows = [[]];
  let used = LEFT;
  for (const entry of entries) {
    const wide = 30 + 7 * entry.value.length;
    if (used + wide > WIDTH - RIGHT && rows.at(-1).length) {
      rows.push([]);
      used = LEFT;
    }
    rows.at(-1).push({ ...entry, x: used });
    used += wide;
  }
  return rows;
}

/** A figure with a title; the legend's `hidden` entries are left out. */
function svgFigure(title, { groups, axes: { x, y, levels }, quantity, legend: entries }, hidden) {
  const ink = css("--ink");
  const legend = legendRows(entries.filter(({ key }) => !hidden.has(key)));
  const bottom = HEIGHT - 64 - legend.length * LINE;
  const across = (value) => LEFT + x.span(x.at(value)) * (WIDTH - LEFT - RIGHT);
  const up = (value) => bottom - y.span(y.at(value)) * (bottom - TOP);
  const text = (words, left, top, more = {}) => tag("text", { x: fixed(left), y: fixed(top), fill: ink, ...more }, escaped(words));
  const line = (x1, y1, x2, y2, stroke, more = {}) =>
    tag("line", { x1: fixed(x1), y1: fixed(y1), x2: fixed(x2), y2: fixed(y2), stroke, ...more });
  const mark = ({ shape, line: stroke, fill }, left, top) =>
    tag("path", { d: outline(shape), transform: `translate(${fixed(left)} ${fixed(top)})`, stroke, fill });

  const middle = (LEFT + WIDTH - RIGHT) / 2;
  const parts = [
    tag("rect", { width: WIDTH, height: HEIGHT, fill: css("--paper") }),
    text(title, LEFT, 28, { "font-size": 16, "font-weight": 600 }),
  ];
  for (const { value, label } of x.ticks) {
    parts.push(line(across(value), TOP, across(value), bottom, css("--rule")));
    parts.push(text(label, across(value), bottom + 18, { "text-anchor": "middle" }));
  }
  for (const { value, label } of y.ticks) {
    parts.push(line(LEFT, up(value), WIDTH - RIGHT, up(value), css("--rule")));
    parts.push(text(label, LEFT - 8, up(value) + 4, { "text-anchor": "end" }));
  }
  parts.push(text(x.title, middle, bottom + 40, { "text-anchor": "middle", "font-size": 13 }));
  const turned = { transform: `rotate(-90 20 ${fixed((TOP + bottom) / 2)})`, "text-anchor": "middle", "font-size": 13 };
  parts.push(text(y.title, 20, (TOP + bottom) / 2, turned));
  for (const { value } of levels) {
    parts.push(line(LEFT, up(value), WIDTH - RIGHT, up(value), css("--muted"), { "stroke-dasharray": "5 4" }));
  }
  for (const group of groups) {
    for (const one of group.members) {
      parts.push(mark(group, across(QUANTITIES[quantity].of(one)), up(one.perplexity_ratio)));
    }
  }
  const outlined = { "text-anchor": "end", stroke: css("--paper"), "stroke-width": 4, "paint-order": "stroke" };
  for (const { value, words, below } of levels) {
    parts.push(text(words, WIDTH - RIGHT - 4, up(value) + (below ? 14 : -5), outlined));
  }
  legend.forEach((row, index) => {
    const top = bottom + 62 + index * LINE;
    for (const { x: left, value, ...look } of row) parts.push(mark(look, left + 6, top - 4), text(value, left + 16, top));
  });
  const size = { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` };
  const root = { xmlns: "http://www.w3.org/2000/svg", ...size, "font-family": FONT, "font-size": 12 };
  return tag("svg", root, parts.join("\n"));
}

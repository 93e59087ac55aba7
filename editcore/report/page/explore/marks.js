// How a case is drawn: its grade by the shape, and what is chosen by the colour.

const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
const GRADE_COLOURS = { sound: "--blue", damaged: "--vermilion", collapsed: "--ink" };
const SHAPES = { sound: "circle", damaged: "rectRot", collapsed: "triangle", "not collapsed": "rect" };
const RADIUS = 4;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The colour of a value; from the ninth on they repeat, without a filling. */
function paint(labels, kind, value) {
  const place = labels[kind].indexOf(value);
  const colour = css(kind === "grade" ? (GRADE_COLOURS[value] ?? "--muted") : COLOURS[place % COLOURS.length]);
  const hollow = kind !== "grade" && place >= COLOURS.length;
  return { line: colour, fill: hollow ? "transparent" : `${colour}99` };
}

/** The outline of a shape around the origin as the path of an SVG. */
function outline(shape, radius = RADIUS) {
  const r = radius;
  const corner = (angle) => `${(r * Math.sin(angle)).toFixed(2)} ${(-r * Math.cos(angle)).toFixed(2)}`;
  const corners = (...angles) => `M${angles.map((turn) => corner(turn * 2 * Math.PI)).join("L")}Z`;
  if (shape === "triangle") return corners(0, 1 / 3, 2 / 3);
  if (shape === "rectRot") return corners(0, 1 / 4, 1 / 2, 3 / 4);
  if (shape === "rect") return corners(1 / 8, 3 / 8, 5 / 8, 7 / 8);
  return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

/** The drawn cases in groups of one mark, the harmed ones last, on top. */
function groupsOf(labels, drawn, colour) {
  const groups = [];
  for (const grade of GRADES) {
    for (const value of colour === "grade" ? [grade] : labels[colour]) {
      const members = drawn.filter((one) => one.grade === grade && one[colour] === value);
      if (members.length) groups.push({ value, grade, members, shape: SHAPES[grade], ...paint(labels, colour, value) });
    }
  }
  return groups;
}

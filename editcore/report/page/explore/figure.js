// What a selection draws: the cases, the axes, the marks and the legend.

/** What the colour shows: what is chosen, or the first that differs among the cases. */
function colouring(made, chosen) {
  const several = (name) => new Set(made.map((one) => one[name])).size > 1;
  return chosen || (["editor", "dataset", "model"].find(several) ?? "grade");
}

/** The entries of the legend: of the colours, and of the grades, whose shapes they show. */
function legendOf(labels, made, colour) {
  const present = (kind, values) => values.filter((value) => made.some((one) => one[kind] === value));
  const coloured = colour === "grade" ? [] : present(colour, labels[colour]);
  const neutral = { line: css("--ink"), fill: "transparent" };
  const entries = [
    ...coloured.map((value) => ({ kind: colour, value, shape: "circle", ...paint(labels, colour, value) })),
    ...present("grade", GRADES).map((value) => ({
      kind: "grade",
      value,
      shape: SHAPES[value],
      ...(colour === "grade" ? paint(labels, "grade", value) : neutral),
    })),
  ];
  return entries.map((entry) => ({ ...entry, key: `${entry.kind}: ${entry.value}` }));
}

/** All that is drawn of a selection; `hidden` has the keys of the legend's entries that are switched off. */
function figureOf({ labels, thresholds }, cases, selection, hidden) {
  const selected = cases.filter((one) => matches(one, selection));
  const failed = selected.filter((one) => one.grade === FAILED);
  const made = selected.filter((one) => one.grade !== FAILED);
  rank(made);
  const available = Object.keys(QUANTITIES).filter((name) => !made.length || made.some((one) => has(one, name)));
  const quantity = available.includes(selection.axis) ? selection.axis : usualQuantity(made);
  const colour = colouring(made, selection.colour);
  const legend = legendOf(labels, made, colour);
  const off = legend.filter(({ key }) => hidden.has(key));
  const visible = made.filter((one) => !off.some(({ kind, value }) => one[kind] === value));
  const drawn = visible.filter((one) => has(one, quantity));
  const absent = visible.filter((one) => !has(one, quantity));
  const models = selection.model ? [labels.model.indexOf(selection.model)] : [...labels.model.keys()];
  const limits = new Set(models.map((model) => thresholds[model]).filter((limit) => limit !== null));
  return {
    selected,
    failed,
    drawn,
    absent,
    lacking: labels.editor.filter((editor) => absent.some((one) => one.editor === editor)),
    switchedOff: made.length - visible.length,
    available,
    quantity,
    colour,
    legend,
    groups: groupsOf(labels, drawn, colour),
    axes: axesOf(drawn, quantity, limits),
  };
}

// What a selection is and contains, in sentences.

const RESULTS = {
  collapsed: "collapsed",
  damaged: "is damaged",
  sound: "is sound",
  failed: "failed",
  "not collapsed": "is known only not to have collapsed",
};
const NOUNS = { model: "model", editor: "editor", dataset: "data set", grade: "grade" };

/** A selection as the title of a figure. */
function titleOf({ model, editor, dataset, grade, text }, edits) {
  const parts = [`${editor || "All editors"} on ${model || "all models"}`, dataset, grade, text && `“${text}”`];
  return `${parts.filter(Boolean).join(", ")}: ${plural(edits, "edit")}`;
}

/** That no case passes the filters. */
function nothingFound({ model, editor, dataset, grade, text }) {
  const about = `No ${dataset && `${dataset} `}case${editor && ` of ${editor}`}${model && ` on ${model}`}`;
  const results = [grade && RESULTS[grade], text && `has “${text}” in its subject or objects`].filter(Boolean);
  return `${about} ${results.join(" and ") || "was edited"}.`;
}

/** What it does to take one filter away. */
function relaxing(name, { editor, model }) {
  if (name === "grade") return editor || model ? "Show all of its cases" : "Show cases of every grade";
  return name === "text" ? "Clear the search" : `Show all ${NOUNS[name]}s`;
}

/** How many edits of which grade are selected. */
function counted(selected) {
  if (!selected.length) return "No edits.";
  const graded = (grade) => selected.filter((one) => one.grade === grade).length;
  const always = ["collapsed", "damaged", "sound"];
  const shown = [...always, "not collapsed", FAILED].filter((grade) => always.includes(grade) || graded(grade));
  return `${plural(selected.length, "edit")}: ${shown.map((grade) => `${count(graded(grade))} ${grade}`).join(", ")}.`;
}

/** Reasons with their numbers, the most frequent first. */
function reasons(failed) {
  const found = new Map();
  for (const { status } of failed) found.set(status, (found.get(status) ?? 0) + 1);
  const sorted = [...found].sort(([, a], [, b]) => b - a);
  return listed(sorted.map(([status, times]) => `${status}: ${count(times)}`));
}

/** That edits of some editors lack the quantity of the axis. */
function lack(edits, editors, quantity) {
  return `${count(edits)} ${edits === 1 ? "has" : "have"} no ${QUANTITIES[quantity].short} (${listed(editors)}).`;
}

// The cases, and the quantities that the horizontal axis can show.

const GRADES = ["sound", "damaged", "collapsed", "not collapsed"];
const FAILED = "failed";
const TEXTS = ["subject", "prompt", "target_new", "target_true", "continuation_base", "continuation", "status"];
const FILTERS = ["model", "editor", "dataset", "grade", "text"];

/** The cases as objects; the page stores them by column, and each text once. */
function decode({ labels, columns, texts }) {
  const cases = columns.case_id.map(() => ({}));
  for (const [name, values] of Object.entries(columns)) {
    const known = name in labels ? labels[name] : TEXTS.includes(name) ? texts : null;
    values.forEach((value, row) => {
      cases[row][name] = known ? (known[value] ?? null) : value === "inf" ? Infinity : value;
    });
  }
  return cases;
}

/** A quantity of an edit; `short` names it in sentences, `of` is null for edits that do not have it. */
const QUANTITIES = {
  denominator: {
    title: "|denominator| of the update",
    short: "denominator",
    of: (one) => one.denominator,
  },
  change: {
    title: "‖Δ‖ / ‖W‖, the size of the change relative to the weights",
    short: "size of the change",
    of: (one) => (one.delta_norm === null || !one.weight_norm ? null : one.delta_norm / one.weight_norm),
  },
  warning: {
    title: "what the change adds, relative to the layer’s own output",
    short: "change of the layer’s output",
    of: (one) => one.warning,
  },
  rank: {
    title: "rank of the edit, by the rise of perplexity",
    short: "rank",
    of: (one) => one.rank,
  },
};
// A quantity that fewer of the selected edits have is not the axis unless it is chosen.
const NEARLY_ALL = 0.95;

const has = (one, quantity) => QUANTITIES[quantity].of(one) !== null;

/** The first quantity that nearly all edits have. */
function usualQuantity(made) {
  const enough = (quantity) => made.filter((one) => has(one, quantity)).length >= NEARLY_ALL * made.length;
  return Object.keys(QUANTITIES).find(enough);
}

/** Gives each edit its place in the order of perplexity, from 1. */
function rank(made) {
  const sorted = [...made].sort((a, b) => a.perplexity_ratio - b.perplexity_ratio || 0);
  sorted.forEach((one, place) => (one.rank = place + 1));
}

/** Whether a case passes the filters. */
function matches(one, selection) {
  const { text } = selection;
  return (
    ["model", "editor", "dataset", "grade"].every((name) => !selection[name] || one[name] === selection[name]) &&
    (!text || `${one.subject} ${one.target_new} ${one.target_true ?? ""}`.toLowerCase().includes(text.toLowerCase()))
  );
}

const fact = (one) => (one.prompt ?? "{}").replace("{}", () => one.subject);
const origin = (one) => `${one.editor} on ${one.model}, ${one.dataset} case ${one.case_id}`;

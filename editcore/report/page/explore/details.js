// The card with all that is known of one case.

/** An element with a text, classes and children. */
function element(name, { text, kind, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

function button(text, act) {
  const made = element("button", { text, type: "button" });
  made.addEventListener("click", act);
  return made;
}

// Label, columns and words of each line; the words are null if the edit has no such number.
const pair = (word, plain, prefixed) => (one) =>
  one[plain] === null && one[prefixed] === null ? null : `${number(one[plain])}, ${word} ${number(one[prefixed])}`;
const ifKnown = (name, words = number) => (one) => (one[name] === null ? null : words(one[name], one));
const ROWS = [
  ["perplexity", ["perplexity_base", "perplexity", "perplexity_ratio"],
    ifKnown("perplexity", (value, one) => `${number(one.perplexity_base)} → ${number(value)} (×${number(one.perplexity_ratio)})`)],
  ["predictions moved", ["kl_mean", "kl_upper"],
    ifKnown("kl_mean", (value, one) => `${number(value)} nats per token, 99th percentile ${number(one.kl_upper)}`)],
  ["likeliest token", ["top1_kept"], ifKnown("top1_kept", (value) => `the same in a share of ${number(value)}`)],
  ["|denominator|", ["denominator"], ifKnown("denominator")],
  ["running text gets", ["exposure"], ifKnown("exposure", (value) => `${number(value)} times what the subject gets`)],
  ["predicted change", ["warning"], ifKnown("warning", (value) => `×${number(value)} of the layer’s output`)],
  ["‖numerator‖", ["numerator_norm"], ifKnown("numerator_norm")],
  ["‖Δ‖, ‖W‖", ["delta_norm", "weight_norm"], ifKnown("delta_norm", (value, one) => `${number(value)}, ${number(one.weight_norm)}`)],
  ["efficacy", ["efficacy", "efficacy_prefixed"], pair("prefixed", "efficacy", "efficacy_prefixed")],
  ["generalization", ["generalization", "generalization_prefixed"], pair("prefixed", "generalization", "generalization_prefixed")],
  ["locality", ["locality", "locality_prefixed"], pair("prefixed", "locality", "locality_prefixed")],
  ["subject", ["subject_start", "subject_tokens"],
    ifKnown("subject_tokens", (value, one) => `${one.subject_start ? `after ${plural(one.subject_start, "character")}` : "opens the prompt"}, ${plural(value, "token")}`)],
];

/** How one of the two models continues the prompt: a line, if continuations were generated. */
function said(when, one, text, broken) {
  if (text === null) return [];
  const nothing = ` nothing${broken ? ": its probabilities are not finite" : ""}`;
  const words = text ? element("span", { text: text.replace(/\n/g, " ↵ ") }) : element("em", { text: nothing });
  return [element("p", { kind: "said" }, element("small", { text: when }), " ", element("q", { text: fact(one) }), words)];
}

/** One sentence about a case, for people who listen. */
function spoken(one) {
  const result = one.grade === FAILED ? `failed: ${one.status}` : `${one.grade}, perplexity times ${number(one.perplexity_ratio)}`;
  return `${fact(one)} → ${one.target_new}. ${origin(one)}: ${result}.`;
}

/** The content of the card of a case. */
function details(one, meanings) {
  const [start, rest] = (one.prompt ?? "{}").split("{}");
  const line = element("p", { kind: "fact" }, start, element("strong", { text: one.subject }), rest ?? "", " ");
  if (one.target_true) line.append(element("del", { text: one.target_true }), " → ");
  line.append(element("ins", { text: one.target_new }));
  const verdict = one.grade === FAILED ? `failed: ${one.status}` : one.grade;
  const rows = ROWS.map(([term, names, words]) => [term, names, words(one)]).filter((row) => row[2] !== null);
  const numbers = rows.map(([term, , words]) => element("div", {}, element("dt", { text: term }), element("dd", { text: words })));
  const explained = rows.flatMap(([, names]) =>
    names.map((name) => element("p", {}, element("code", { text: name }), `: ${meanings[name]}`)),
  );
  return [
    line,
    element("p", { text: origin(one) }),
    element("p", { text: verdict, kind: `verdict ${one.grade}` }),
    ...said("before", one, one.continuation_base, false),
    ...said("after", one, one.continuation, one.perplexity_ratio === Infinity),
    element("dl", {}, ...numbers),
    ...(rows.length ? [element("details", {}, element("summary", { text: "What the numbers mean" }), ...explained)] : []),
  ];
}

const GAP = 16;

/** Move the card next to a point of the chart, on the side with more room, or below a narrow chart. */
function placeCard(card, stage, point) {
  const box = stage.getBoundingClientRect();
  card.style.top = card.style.left = "";
  card.classList.remove("below");
  const { width, height } = card.getBoundingClientRect();
  const x = point?.x ?? 0;
  const left = x > box.width / 2 ? x - GAP - width : x + GAP;
  card.classList.toggle("below", left < 0 || left + width > box.width);
  if (card.classList.contains("below")) return;
  // The part of the chart that can be seen, if the card has room there.
  const top = Math.max(0, -box.top);
  const bottom = Math.min(box.height, innerHeight - box.top);
  const [from, to] = bottom - top >= height ? [top, bottom] : [0, Math.max(box.height, height)];
  card.style.left = `${left}px`;
  card.style.top = `${Math.min(Math.max((point?.y ?? 0) - height / 2, from), to - height)}px`;
}

// Links to a selection of cases or to one case, after the `#` of the page's address.

const IN_LINKS = [...FILTERS, "axis", "colour"];

function linkTo(kind, fields) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) if (value) found.set(name, value);
  return `#${kind}:${found}`;
}

/** The link to a selection: `#cases:model=…&editor=…&dataset=…&grade=…`. */
const linkToCases = (selection) => linkTo("cases", Object.fromEntries(IN_LINKS.map((name) => [name, selection[name]])));

/** The link to one case: `#case:model=…&editor=…&dataset=…&id=…`. */
const linkToCase = ({ model, editor, dataset, case_id: id }) => linkTo("case", { model, editor, dataset, id: String(id) });

/** What a link selects: a `selection`, or the `id` of a case as well; null for links to something else. */
function readLink(hash) {
  const [, kind, rest] = /^#(cases?):(.*)$/s.exec(hash) ?? [];
  if (!kind) return null;
  const fields = new URLSearchParams(rest);
  const selection = Object.fromEntries(IN_LINKS.map((name) => [name, fields.get(name) ?? ""]));
  return kind === "case" ? { selection, id: fields.get("id") ?? "" } : { selection };
}

/** Copy a text; false if the browser does not allow it. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", { value: text, kind: "unseen" });
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

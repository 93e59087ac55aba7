// The controls around the chart, and what they and the sentences next to them show.

const byId = (id) => document.getElementById(id);
const LEGENDS = { editor: "Editors", model: "Models", dataset: "Data sets", grade: "Grades" };

function options(control, values, value) {
  control.replaceChildren(...values.map(([key, text, disabled]) => element("option", { value: key, text, disabled })));
  control.value = value;
}

/** Let the controls show a selection; a quantity that no selected edit has cannot be chosen. */
function fillControls(controls, labels, grades, selection, { available, quantity, colour }) {
  for (const name of ["model", "editor", "dataset"]) {
    options(controls[name], [["", `all ${NOUNS[name]}s`], ...labels[name].map((label) => [label, label])], selection[name]);
  }
  options(controls.grade, [["", "all grades"], ...grades.map((name) => [name, name])], selection.grade);
  const axes = Object.entries(QUANTITIES).map(([name, { short }]) =>
    available.includes(name) ? [name, short, false] : [name, `${short} (none of these edits has one)`, true],
  );
  options(controls.axis, axes, quantity);
  controls.colour.value = colour;
  if (controls.text.value.trim() !== selection.text) controls.text.value = selection.text;
  byId("clear").hidden = !FILTERS.some((name) => selection[name]);
}

/** Show the legend, whose entries switch their cases off and on. */
function fillLegend({ legend, colour }, hidden, toggle) {
  const kinds = colour === "grade" ? ["grade"] : [colour, "grade"];
  const focusedKey = document.activeElement?.dataset?.key;
  const groups = kinds.map((kind) => {
    const entries = legend.filter((entry) => entry.kind === kind).map(({ key, value, shape, line, fill }) => {
      const made = button(value, () => toggle(key));
      made.dataset.key = key;
      made.setAttribute("aria-pressed", String(!hidden.has(key)));
      const path = `<path d="${outline(shape, 5)}" stroke="${line}" fill="${fill}"/>`;
      made.insertAdjacentHTML("afterbegin", `<svg viewBox="-7 -7 14 14" aria-hidden="true">${path}</svg>`);
      return made;
    });
    const group = element("div", { role: "group", ariaLabel: LEGENDS[kind] });
    group.append(element("span", { text: LEGENDS[kind] }), ...entries);
    return group;
  });
  byId("legend").replaceChildren(...groups);
  [...byId("legend").querySelectorAll("button")].find((made) => made.dataset.key === focusedKey)?.focus();
}

/** Say what is selected, and what of it is not drawn and why, with buttons that show it. */
function fillCounts({ selected, failed, drawn, absent, lacking, switchedOff, quantity }, choose, switchOn) {
  const them = (number) => (number === 1 ? "it" : "them");
  const notes = [];
  if (drawn.length < selected.length) notes.push(`${count(drawn.length)} of ${plural(selected.length, "edit")} shown.`);
  if (absent.length) {
    const other = Object.keys(QUANTITIES).find((name) => absent.every((one) => has(one, name)));
    const words = `Show ${them(absent.length)} by ${QUANTITIES[other].short}`;
    notes.push(lack(absent.length, lacking, quantity), button(words, () => choose("axis", other)));
  }
  if (failed.length) notes.push(`${count(failed.length)} failed (${reasons(failed)}).`);
  if (switchedOff) {
    notes.push(`${count(switchedOff)} switched off in the legend.`, button(`Show ${them(switchedOff)}`, switchOn));
  }
  byId("count").textContent = counted(selected);
  byId("shown").replaceChildren(...notes.flatMap((note) => [note, " "]));
}

/** Say in the chart's place why it is empty, with a button that takes back the `last` filter. */
function fillEmpty({ selected, failed, drawn }, selection, last, choose) {
  const box = byId("nothing");
  box.hidden = drawn.length > 0;
  let words = nothingFound(selection);
  if (selected.length) {
    words = failed.length === selected.length ? `All of these edits failed (${reasons(failed)}).` : "None of these edits is shown.";
  }
  box.replaceChildren(element("p", { text: words }));
  if (last) box.append(button(relaxing(last, selection), () => choose(last, "")));
}

// The explorer of the cases: what is selected, and what follows from it.

function explore() {
  const source = byId("cases-data");
  if (!source || typeof Chart === "undefined") return;
  byId("explore-section").hidden = false;

  const study = JSON.parse(source.textContent);
  const { labels } = study;
  const cases = decode(study);
  const nothing = Object.fromEntries(IN_LINKS.map((name) => [name, ""]));
  const controls = Object.fromEntries(IN_LINKS.map((name) => [name, byId(`by-${name}`)]));
  const [stage, card] = [byId("stage"), byId("case")];

  // An axis or a colour of "" follows from the selected cases.
  let selection = { ...nothing };
  let recent = []; // the filters in the order of their use, for taking back the last one
  let pinned = null;
  let focused = null;
  let problem = ""; // what is wrong with the link that led here
  let figure = null;
  const hidden = new Set(); // entries that were switched off in the legend

  let pointed = null;
  const plot = plotOn(byId("chart"), {
    point(one) {
      if (pinned || one === pointed) return;
      pointed = one;
      show(one ?? focused);
    },
    press: pin,
  });

  function render() {
    figure = figureOf(study, cases, selection, hidden);
    plot.draw(figure);
    const last = recent.findLast((name) => selection[name]);
    const grades = labels.grade.filter((name) => name === selection.grade || cases.some((one) => one.grade === name));
    fillControls(controls, labels, grades, selection, figure);
    fillLegend(figure, hidden, toggle);
    fillCounts(figure, vanishing(choose), vanishing(switchOn));
    fillEmpty(figure, selection, last, vanishing(choose));
    byId("problem").textContent = problem;
    if (pinned && !figure.selected.includes(pinned)) pinned = null;
    if (focused && focused !== pinned && !figure.drawn.includes(focused)) focused = null;
    show(pinned ?? focused);
    performance.mark("cases drawn");
  }

  /** What a button does that disappears when it is pressed: the keyboard continues at the chart. */
  const vanishing = (act) => (...values) => {
    act(...values);
    byId("chart").focus({ preventScroll: true });
  };

  function toggle(key) {
    if (!hidden.delete(key)) hidden.add(key);
    render();
  }

  function switchOn() {
    hidden.clear();
    render();
  }

  function choose(name, value, { step = true } = {}) {
    selection = { ...selection, [name]: value };
    recent = [...recent.filter((other) => other !== name), ...(FILTERS.includes(name) ? [name] : [])];
    problem = "";
    render();
    remember(step);
  }

  // ---- the case ----

  function show(one) {
    plot.mark(one);
    card.hidden = !one;
    card.classList.toggle("pinned", one !== null && one === pinned);
    if (!one) return;
    const copy = button("Copy link", async () => told(await copied(address(linkToCase(one)))));
    const close = button("Close", vanishing(() => pin(null)));
    const actions = one === pinned ? [element("p", { kind: "files" }, copy, close)] : [];
    card.replaceChildren(...details(one, study.meanings), ...actions);
    placeCard(card, stage, plot.place(one));
  }

  function pin(one) {
    if (one === pinned) return;
    // What was closed is not opened by the mouse that rests on it.
    pointed = one ?? pinned;
    pinned = focused = one;
    show(one);
    byId("spoken").textContent = one ? spoken(one) : "";
    remember(true);
  }

  byId("chart").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    const { drawn, quantity } = figure;
    if (step && drawn.length) {
      event.preventDefault();
      const { of } = QUANTITIES[quantity];
      const sorted = [...drawn].sort((a, b) => of(a) - of(b) || 0);
      const now = sorted.indexOf(pinned ?? focused);
      const next = now < 0 ? (step > 0 ? 0 : sorted.length - 1) : now + step;
      pin(null);
      focused = sorted[Math.min(Math.max(next, 0), sorted.length - 1)];
      show(focused);
      byId("spoken").textContent = spoken(focused);
    } else if (event.key === "Enter" && focused) pin(focused);
  });
  byId("explore-section").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !(pinned ?? focused)) return;
    focused = null;
    pin(null);
    show(null);
    byId("chart").focus({ preventScroll: true });
  });

  // ---- links ----

  const address = (hash) => location.href.split("#")[0] + hash;
  const told = (done) => (byId("done").textContent = done ? "The link is copied." : "The browser did not allow copying.");

  /** Keep the selection or the case in the page's address, as a new step for Back or without one. */
  function remember(step) {
    const hash = pinned ? linkToCase(pinned) : linkToCases(selection);
    byId("done").textContent = "";
    try {
      if (hash !== location.hash) history[step ? "pushState" : "replaceState"](history.state, "", hash);
    } catch {
      // A page inside another page may have no address of its own.
    }
  }

  function openCase({ model, editor, dataset }, id) {
    const found = (one) => one.model === model && one.editor === editor && one.dataset === dataset && String(one.case_id) === id;
    pinned = focused = cases.find(found) ?? null;
    if (!(model && editor && dataset && id)) problem = "A link to a case names its model, editor, dataset and id; this one does not.";
    else if (!pinned) {
      const where = study.left_out ? "on this page; summary/cases.parquet has all cases" : "in this study";
      problem = `The link leads to case ${id} of ${editor} on ${model}, ${dataset}, which is not ${where}.`;
    } else if (!matches(pinned, selection)) selection = { ...nothing, model, editor, dataset };
    render();
    if (!pinned || pinned.grade === FAILED || figure.drawn.includes(pinned)) return;
    selection = { ...selection, axis: Object.keys(QUANTITIES).find((name) => has(pinned, name)) };
    render();
  }

  function openCases(wanted) {
    const known = (name) => labels[name].includes(wanted[name]);
    const unknown = Object.keys(NOUNS).filter((name) => wanted[name] && !known(name));
    for (const name of unknown) problem += `The link names the ${NOUNS[name]} “${wanted[name]}”, which is not in this study. `;
    const axis = Object.hasOwn(QUANTITIES, wanted.axis) ? wanted.axis : "";
    const colour = Object.hasOwn(labels, wanted.colour) ? wanted.colour : "";
    selection = { ...wanted, axis, colour, ...Object.fromEntries(unknown.map((name) => [name, ""])) };
    recent = FILTERS.filter((name) => selection[name]);
    pinned = focused = null;
    render();
  }

  /** Select what the page's address names, and bring it into view. */
  function follow() {
    const link = readLink(location.hash);
    if (!link && location.hash) return;
    hidden.clear();
    problem = "";
    if (!link) openCases(nothing);
    else if (link.id === undefined) openCases(link.selection);
    else openCase(link.selection, link.id);
    const { top, bottom } = stage.getBoundingClientRect();
    if (link && (top < 0 || bottom > innerHeight)) byId("explore").scrollIntoView();
    if (pinned) {
      show(pinned);
      byId("spoken").textContent = spoken(pinned);
    }
  }

  addEventListener("hashchange", follow);
  // A link to what the address already names does not change it.
  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.('a[href^="#case"]');
    if (link && link.hash === location.hash) follow();
  });

  // ---- files ----

  byId("save-csv").addEventListener("click", () => {
    const columns = Object.keys(study.columns);
    save(`${fileName(selection)}.csv`, new Blob([csv(figure.selected, columns)], { type: "text/csv;charset=utf-8" }));
  });
  const drawing = () => svgFigure(titleOf(selection, figure.drawn.length), figure, hidden);
  byId("save-svg").addEventListener("click", () =>
    save(`${fileName(selection)}.svg`, new Blob([drawing()], { type: "image/svg+xml" })),
  );
  byId("save-png").addEventListener("click", async () => save(`${fileName(selection)}.png`, await png(drawing())));
  byId("copy-link").addEventListener("click", async () => told(await copied(address(linkToCases(selection)))));
  const clear = () => {
    selection = { ...nothing, axis: selection.axis, colour: selection.colour };
    choose("text", "");
  };
  byId("clear").addEventListener("click", vanishing(clear));
  if (study.left_out) byId("left-out").textContent = `${plural(study.left_out, "case")} had no room on this page.`;
  const table = byId("all-cases");
  if (table.dataset.file) table.append(" Parquet: ", element("a", { href: table.dataset.file, text: table.dataset.file }), ", next to this page.");

  // ---- start ----

  for (const name of ["model", "editor", "dataset", "grade", "axis", "colour"]) {
    controls[name].addEventListener("change", () => choose(name, controls[name].value));
  }
  controls.text.addEventListener("input", () => choose("text", controls.text.value.trim(), { step: false }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  matchMedia("(pointer: coarse)").addEventListener("change", render);
  // On paper the page is light and as wide as the paper.
  matchMedia("print").addEventListener("change", () => {
    plot.resize();
    render();
  });
  addEventListener("resize", () => requestAnimationFrame(() => show(pinned ?? focused)));
  if (readLink(location.hash)) follow();
  else render();
}

document.querySelectorAll("main table:not(.grid)").forEach(makeSortable);
openFoldsForPrinting();
explore();

// The page's chart of all cases, its filters and its case panel, and tables that can be sorted.
"use strict";

(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const byId = (id) => document.getElementById(id);

  // ---- numbers ----

  const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const tenTo = (power) => "10" + [...String(power)].map((digit) => SUPERSCRIPT[digit]).join("");

  function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === Infinity) return "∞";
    const size = Math.abs(value);
    if (size && (size >= 1e7 || size < 1e-3)) {
      const power = Math.floor(Math.log10(size));
      return `${(value / 10 ** power).toFixed(2)}·${tenTo(power)}`;
    }
    if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
    return String(Number(value.toPrecision(3)));
  }

  // ---- sortable tables ----

  const PLAIN = Object.fromEntries(Object.entries(SUPERSCRIPT).map(([plain, raised]) => [raised, plain]));

  /** The sort key of a cell: its number if it has one, otherwise its text. */
  function sortKey(text) {
    const cell = text.trim();
    if (cell === "–" || cell === "") return null;
    let plain = cell.replace(/[,×%\s<]/g, "").replace(/−/g, "-");
    plain = plain.replace(/·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, power) => `e${[...power].map((c) => PLAIN[c]).join("")}`);
    if (plain === "∞") return Infinity;
    const parsed = Number.parseFloat(plain);
    return /^[-+]?[\d.]/.test(plain) && !Number.isNaN(parsed) ? parsed : cell;
  }

  function compare(a, b) {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    if (body.rows.length < 2) return;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = [...body.rows].map((row) => [sortKey(row.cells[column].textContent), row]);
        // Missing values stay at the end in both directions.
        keyed.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  document.querySelectorAll("main table:not(.grid)").forEach(makeSortable);

  // ---- folded parts are opened for printing ----

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => details.setAttribute("open", ""));
  });
  addEventListener("afterprint", () => opened.forEach((details) => details.removeAttribute("open")));

  // ---- the chart ----

  const source = byId("cases-data");
  if (!source || typeof Chart === "undefined") return;
  byId("explore-section").hidden = false;

  const study = JSON.parse(source.textContent);
  const { labels, columns, texts } = study;
  const TEXTS = ["subject", "prompt", "target_new", "target_true", "continuation_base", "continuation"];
  const cases = columns.case_id.map((_, row) => {
    const found = {};
    for (const [name, values] of Object.entries(columns)) {
      const value = values[row];
      if (name in labels) found[name] = labels[name][value];
      else if (TEXTS.includes(name)) found[name] = texts[value] ?? null;
      else found[name] = value === "inf" ? Infinity : value;
    }
    found.change = found.delta_norm && found.weight_norm ? found.delta_norm / found.weight_norm : null;
    return found;
  });

  const AXES = {
    denominator: "|denominator| of the update",
    warning: "what the change adds, relative to the layer’s own output",
    change: "‖Δ‖ / ‖W‖, the size of the change",
  };
  const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
  const GRADE_COLOURS = { sound: "--blue", damaged: "--vermilion", collapsed: "--ink" };
  const controls = ["model", "editor", "dataset", "grade", "axis", "colour"].map((name) => [name, byId(`by-${name}`)]);
  const chosen = () => ({
    ...Object.fromEntries(controls.map(([name, control]) => [name, control.value])),
    text: byId("by-text").value.trim().toLowerCase(),
  });

  function fill(control, values, every) {
    if (every) control.add(new Option(every, ""));
    for (const [value, text] of values) control.add(new Option(text, value));
  }
  fill(byId("by-model"), labels.model.map((name) => [name, name]), "all models");
  fill(byId("by-editor"), labels.editor.map((name) => [name, name]), "all editors");
  fill(byId("by-dataset"), labels.dataset.map((name) => [name, name]), "all data sets");
  const grades = labels.grade.filter((name) => cases.some((one) => one.grade === name));
  fill(byId("by-grade"), grades.map((name) => [name, name]), "all grades");
  const usable = Object.entries(AXES).filter(([axis]) => cases.some((one) => one[axis] > 0));
  fill(byId("by-axis"), usable);

  function matches(one, wanted) {
    return (
      ["model", "editor", "dataset", "grade"].every((name) => !wanted[name] || one[name] === wanted[name]) &&
      (!wanted.text || `${one.subject} ${one.target_new} ${one.target_true ?? ""}`.toLowerCase().includes(wanted.text))
    );
  }

  /** The positions of infinite values: above the largest finite one. */
  function ceiling(shown) {
    const finite = shown.map((one) => one.perplexity_ratio).filter(Number.isFinite);
    return 10 ** (Math.ceil(Math.log10(Math.max(10, ...finite))) + 0.5);
  }

  const levels = {
    id: "levels",
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea, scales } = chart;
      for (const [height, words] of chart.$levels ?? []) {
        const y = scales.y.getPixelForValue(height);
        if (y < chartArea.top || y > chartArea.bottom) continue;
        ctx.save();
        ctx.strokeStyle = css("--muted");
        ctx.setLineDash([5, 4]);
        ctx.beginPath();
        ctx.moveTo(chartArea.left, y);
        ctx.lineTo(chartArea.right, y);
        ctx.stroke();
        ctx.restore();
      }
    },
    afterDatasetsDraw(chart) {
      this.name(chart);
      const found = place(chart, pinned ?? focused);
      if (!found) return;
      const { ctx } = chart;
      ctx.save();
      ctx.strokeStyle = css("--ink");
      ctx.lineWidth = 2;
      ctx.beginPath();
      ctx.arc(found.x, found.y, 9, 0, 2 * Math.PI);
      ctx.stroke();
      ctx.restore();
    },
    /** The names of the levels, drawn over the points with an outline. */
    name({ ctx, chartArea, scales, $levels }) {
      ctx.save();
      ctx.font = "12px system-ui, sans-serif";
      ctx.textAlign = "right";
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = css("--paper");
      ctx.fillStyle = css("--ink");
      for (const [height, words] of $levels ?? []) {
        const y = scales.y.getPixelForValue(height);
        if (y < chartArea.top || y > chartArea.bottom) continue;
        const at = [chartArea.right - 2, height === 1 ? y + 14 : y - 5];
        ctx.strokeText(words, ...at);
        ctx.fillText(words, ...at);
      }
      ctx.restore();
    },
  };

  let pinned = null;
  let focused = null;
  let drawn = [];

  /** The drawn point of a case; null if it is not drawn. */
  function place(chart, one) {
    for (const [set, data] of chart.data.datasets.entries()) {
      const index = one ? data.data.findIndex((point) => point.one === one) : -1;
      if (index >= 0) return chart.getDatasetMeta(set).data[index];
    }
    return null;
  }

  const powers = (value) => {
    const power = Math.round(Math.log10(value));
    if (Math.abs(value / 10 ** power - 1) > 1e-6) return null;
    return power >= -3 && power <= 4 ? (10 ** power).toLocaleString("en", { maximumFractionDigits: 3 }) : tenTo(power);
  };

  /** The range of a logarithmic axis for all values, with a margin and at least a decade long. */
  function range(values) {
    const logs = values.map(Math.log10);
    let low = logs.length ? Math.min(...logs) : -1;
    let high = logs.length ? Math.max(...logs) : 0;
    const short = Math.max(0, 1 - (high - low)) / 2;
    const margin = 0.06 * Math.max(1, high - low);
    low -= short + margin;
    high += short + margin;
    return { min: 10 ** low, max: 10 ** high };
  }

  function logarithmic(title, values) {
    const { min, max } = range(values);
    return {
      type: "logarithmic",
      min,
      max,
      title: { display: true, text: title, color: css("--ink"), font: { size: 13 } },
      border: { color: css("--muted") },
      grid: { color: css("--rule"), drawTicks: false },
      // Only powers of ten are labelled, and not all of them if there are many.
      afterBuildTicks: (axis) => {
        const first = Math.ceil(Math.log10(min));
        const last = Math.floor(Math.log10(max));
        const step = Math.max(1, Math.ceil((last - first + 1) / 8));
        axis.ticks = [];
        for (let power = first; power <= last; power += step) axis.ticks.push({ value: 10 ** power });
      },
      ticks: { color: css("--ink"), autoSkip: false, padding: 6, maxRotation: 0, callback: powers },
    };
  }

  const canvas = byId("chart");
  const chart = new Chart(canvas, {
    type: "scatter",
    data: { datasets: [] },
    plugins: [levels],
    options: {
      animation: false,
      maintainAspectRatio: false,
      parsing: false,
      normalized: true,
      interaction: { mode: "nearest", axis: "xy", intersect: true },
      plugins: {
        legend: { position: "bottom", labels: { usePointStyle: true, color: css("--ink"), boxHeight: 7 } },
        tooltip: {
          displayColors: false,
          callbacks: {
            title: (items) => items.slice(0, 1).map((item) => item.raw.one.subject),
            label: (item) => sentence(item.raw.one),
          },
        },
      },
      onHover: (event, found) => {
        canvas.style.cursor = found.length ? "pointer" : "default";
        if (found.length && !pinned) show(at(found[0]));
      },
      onClick: (event, found) => pin(found.length ? at(found[0]) : null),
    },
  });

  const at = (found) => chart.data.datasets[found.datasetIndex].data[found.index].one;
  const fact = (one) => one.prompt.replace("{}", one.subject);
  const sentence = (one) => `${fact(one)} → ${one.target_new}  (×${number(one.perplexity_ratio)})`;

  function redraw() {
    const wanted = chosen();
    const shown = cases.filter((one) => matches(one, wanted));
    const top = ceiling(shown);
    const groups = new Map();
    drawn = shown.filter((one) => one[wanted.axis] > 0 && Number.isFinite(one[wanted.axis]));
    for (const one of drawn) {
      const name = wanted.colour === "dataset" ? one.dataset : `${one[wanted.colour]}, ${one.dataset}`;
      if (!groups.has(name)) groups.set(name, []);
      const y = Number.isFinite(one.perplexity_ratio) ? one.perplexity_ratio : top;
      groups.get(name).push({ x: one[wanted.axis], y, one });
    }
    const ordered = [...groups].sort(([a], [b]) => a.localeCompare(b, "en"));
    chart.data.datasets = ordered.map(([name, data]) => {
      const [first] = data;
      const value = first.one[wanted.colour];
      const place = labels[wanted.colour].indexOf(value) % COLOURS.length;
      const colour = css(wanted.colour === "grade" ? (GRADE_COLOURS[value] ?? "--muted") : COLOURS[place]);
      return {
        label: name,
        data,
        pointStyle: study.shapes[labels.dataset.indexOf(first.one.dataset)],
        pointRadius: 4,
        pointHoverRadius: 7,
        hitRadius: 6,
        borderWidth: 1,
        borderColor: colour,
        backgroundColor: `${colour}99`,
      };
    });
    const infinite = drawn.some((one) => one.perplexity_ratio === Infinity);
    const models = wanted.model ? [labels.model.indexOf(wanted.model)] : labels.model.keys();
    const thresholds = new Set([...models].map((m) => study.thresholds[m]).filter((t) => t !== null));
    chart.$levels = [[1, "unedited"]];
    if (thresholds.size === 1) {
      const [limit] = thresholds;
      chart.$levels.push([limit, `collapsed above ×${number(limit)}`]);
    }
    if (infinite) chart.$levels.push([top, "∞, no finite probabilities"]);
    const heights = [...groups.values()].flatMap((data) => data.map((point) => point.y));
    chart.options.scales = {
      x: logarithmic(AXES[wanted.axis], drawn.map((one) => one[wanted.axis])),
      y: logarithmic("perplexity: edited / unedited", [...heights, 0.7, ...chart.$levels.map(([height]) => height)]),
    };
    chart.options.plugins.legend.labels.color = css("--ink");
    chart.update();
    const graded = (grade) => shown.filter((one) => one.grade === grade).length.toLocaleString("en");
    const absent = shown.length - drawn.length;
    const words = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
    byId("count").textContent =
      `${words(shown.length, "edit")}, ${graded("collapsed")} collapsed` +
      (grades.includes("not collapsed") ? "." : `, ${graded("damaged")} damaged.`) +
      (absent ? ` ${words(absent, "edit")} without this quantity ${absent === 1 ? "is" : "are"} not drawn.` : "") +
      (absent && !drawn.length && usable.length > 1 ? " Choose another quantity under “Horizontal axis” to see them." : "");
    if (pinned && !shown.includes(pinned)) pin(null);
  }

  // ---- the case ----

  // Label, column and format of each line; the label's tooltip explains the column.
  const ROWS = [
    ["perplexity", ["perplexity_base", "perplexity", "perplexity_ratio"], (one) => `${number(one.perplexity_base)} → ${number(one.perplexity)} (×${number(one.perplexity_ratio)})`],
    ["predictions moved", ["kl_mean", "kl_upper"], (one) => (one.kl_mean === null ? "–" : `${number(one.kl_mean)} nats per token, 99th percentile ${number(one.kl_upper)}`)],
    ["likeliest token", ["top1_kept"], (one) => (one.top1_kept === null ? "–" : `the same in a share of ${number(one.top1_kept)}`)],
    ["|denominator|", ["denominator"], (one) => number(one.denominator)],
    ["running text gets", ["exposure"], (one) => (one.exposure === null ? "–" : `${number(one.exposure)} times what the subject gets`)],
    ["predicted change", ["warning"], (one) => (one.warning === null ? "–" : `×${number(one.warning)} of the layer’s output`)],
    ["‖numerator‖", ["numerator_norm"], (one) => number(one.numerator_norm)],
    ["‖Δ‖, ‖W‖", ["delta_norm", "weight_norm"], (one) => `${number(one.delta_norm)}, ${number(one.weight_norm)}`],
    ["efficacy", ["efficacy", "efficacy_prefixed"], (one) => `${number(one.efficacy)}, prefixed ${number(one.efficacy_prefixed)}`],
    ["generalization", ["generalization", "generalization_prefixed"], (one) => `${number(one.generalization)}, prefixed ${number(one.generalization_prefixed)}`],
    ["locality", ["locality", "locality_prefixed"], (one) => `${number(one.locality)}, prefixed ${number(one.locality_prefixed)}`],
    ["subject", ["subject_start", "subject_tokens"], (one) => `${one.subject_start ? `after ${number(one.subject_start)} characters` : "opens the prompt"}, ${number(one.subject_tokens)} token${one.subject_tokens === 1 ? "" : "s"}`],
  ];

  const element = (name, text, ...children) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    made.append(...children);
    return made;
  };

  /** How one of the two models continues the prompt: a line, if continuations were generated. */
  function said(when, one, text, broken) {
    if (text === null) return [];
    const line = element("p", "", element("small", when), " ", element("q", fact(one)));
    const nothing = ` nothing${broken ? ": its probabilities are not finite" : ""}`;
    line.append(text ? element("span", text.replace(/\n/g, " ↵ ")) : element("em", nothing));
    line.className = "said";
    return [line];
  }

  function show(one) {
    const panel = byId("case");
    if (!one) {
      panel.replaceChildren(element("p", "Point at a case to see it here; click it to keep it."));
      return;
    }
    const [start, rest] = one.prompt.split("{}");
    const line = element("p", "", start, element("strong", one.subject), rest ?? "", " ");
    line.className = "fact";
    if (one.target_true) line.append(element("del", one.target_true), " → ");
    line.append(element("ins", one.target_new));
    const list = element("dl");
    for (const [term, names, words] of ROWS) {
      const said = words(one);
      if (said !== "–" && said !== "–, –" && said !== "–, prefixed –") {
        const head = element("dt", term);
        head.title = names.map((name) => `${name}: ${study.meanings[name]}`).join("\n");
        list.append(element("div", "", head, element("dd", said)));
      }
    }
    const where = `${one.editor} on ${one.model}, ${one.dataset} case ${one.case_id}`;
    const verdict = element("p", one.grade);
    verdict.className = `verdict ${one.grade}`;
    const before = said("before", one, one.continuation_base, false);
    const after = said("after", one, one.continuation, one.perplexity_ratio === Infinity);
    panel.replaceChildren(line, element("p", where), verdict, ...before, ...after, list);
  }

  function pin(one) {
    pinned = one;
    focused = one ?? focused;
    byId("case").classList.toggle("pinned", one !== null);
    show(one);
    chart.draw();
  }

  // ---- keyboard: arrows move between cases, left to right; Enter pins one, Escape unpins it ----

  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    if (step && drawn.length) {
      event.preventDefault();
      const axis = chosen().axis;
      const sorted = [...drawn].sort((a, b) => a[axis] - b[axis]);
      const now = sorted.indexOf(pinned ?? focused);
      const next = now < 0 ? (step > 0 ? 0 : sorted.length - 1) : now + step;
      pinned = null;
      focused = sorted[Math.min(Math.max(next, 0), sorted.length - 1)];
      show(focused);
      chart.draw();
    } else if (event.key === "Enter" && focused) pin(focused);
    else if (event.key === "Escape") {
      focused = null;
      pin(null);
    }
  });

  for (const [, control] of controls) control.addEventListener("change", redraw);
  byId("by-text").addEventListener("input", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // On paper the page is light and as wide as the paper.
  matchMedia("print").addEventListener("change", () => {
    chart.resize();
    redraw();
  });
  byId("left-out").textContent = study.left_out
    ? ` ${study.left_out.toLocaleString("en")} cases are not shown here; summary/cases.parquet has all cases.`
    : "";
  show(null);
  redraw();
})();

// The chart of the cases on a canvas.

/** The chart; `point(case)` and `press(case)` are called with a case, or null where there is none. */
function plotOn(canvas, { point, press }) {
  let marked = null;
  let levels = [];
  const drawnLevels = ({ chartArea, scales }) =>
    levels
      .map((level) => ({ ...level, y: scales.y.getPixelForValue(level.value) }))
      .filter(({ y }) => y >= chartArea.top && y <= chartArea.bottom);

  const overlay = {
    id: "overlay",
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.strokeStyle = css("--muted");
      ctx.setLineDash([5, 4]);
      for (const { y } of drawnLevels(chart)) {
        ctx.beginPath();
        ctx.moveTo(chartArea.left, y);
        ctx.lineTo(chartArea.right, y);
        ctx.stroke();
      }
      ctx.restore();
    },
    /** The names of the levels, drawn over the points with an outline, and a ring around one case. */
    afterDatasetsDraw(chart) {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.font = "12px system-ui, sans-serif";
      ctx.textAlign = "right";
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = css("--paper");
      ctx.fillStyle = css("--ink");
      for (const { y, words, below } of drawnLevels(chart)) {
        const at = [chartArea.right - 2, below ? y + 14 : y - 5];
        ctx.strokeText(words, ...at);
        ctx.fillText(words, ...at);
      }
      const found = place(marked);
      if (found) {
        ctx.strokeStyle = css("--ink");
        ctx.lineWidth = 2;
        ctx.beginPath();
        ctx.arc(found.x, found.y, 9, 0, 2 * Math.PI);
        ctx.stroke();
      }
      ctx.restore();
    },
  };

  const caseAt = (found) => (found.length ? chart.data.datasets[found[0].datasetIndex].data[found[0].index].one : null);
  const chart = new Chart(canvas, {
    type: "scatter",
    data: { datasets: [] },
    plugins: [overlay],
    options: {
      animation: false,
      maintainAspectRatio: false,
      parsing: false,
      normalized: true,
      // A tap arrives as a click; a swipe over the chart scrolls the page.
      events: ["mousemove", "mouseout", "click"],
      interaction: { mode: "nearest", axis: "xy", intersect: true },
      plugins: { legend: { display: false }, tooltip: { enabled: false } },
      onHover: (_, found) => {
        canvas.style.cursor = found.length ? "pointer" : "default";
        point(caseAt(found));
      },
      onClick: (_, found) => press(caseAt(found)),
    },
  });
  canvas.addEventListener("mouseleave", () => point(null));

  /** The position of a case on the canvas; null if it is not drawn. */
  function place(one) {
    if (!one) return null;
    for (const [set, { data }] of chart.data.datasets.entries()) {
      const index = data.findIndex((drawn) => drawn.one === one);
      if (index >= 0) return chart.getDatasetMeta(set).data[index];
    }
    return null;
  }

  function scale({ title, type, min, max, ticks }) {
    return {
      type,
      min,
      max,
      title: { display: true, text: title, color: css("--ink"), font: { size: 13 } },
      border: { color: css("--muted") },
      grid: { color: css("--rule"), drawTicks: false },
      afterBuildTicks: (axis) => (axis.ticks = ticks.map(({ value }) => ({ value }))),
      ticks: {
        color: css("--ink"),
        autoSkip: false,
        padding: 6,
        maxRotation: 0,
        callback: (_, index) => ticks[index].label,
      },
    };
  }

  return {
    place,
    /** Draw the groups of a figure on its axes. */
    draw({ groups, axes, quantity }) {
      const { x, y } = axes;
      // A target of at least 24 pixels, and more for a finger.
      const hitRadius = matchMedia("(pointer: coarse)").matches ? 14 : 8;
      levels = axes.levels;
      // Chart.js draws the first set last.
      chart.data.datasets = [...groups].reverse().map(({ value, grade, members, shape, line, fill }) => ({
        label: value === grade ? grade : `${value}, ${grade}`,
        data: members.map((one) => ({ x: x.at(QUANTITIES[quantity].of(one)), y: y.at(one.perplexity_ratio), one })),
        pointStyle: shape,
        pointRadius: RADIUS,
        pointHoverRadius: RADIUS + 3,
        hitRadius,
        borderWidth: 1,
        borderColor: line,
        backgroundColor: fill,
      }));
      chart.options.scales = { x: scale(x), y: scale(y) };
      chart.update();
    },
    /** Draw a ring around a case, or none. */
    mark(one) {
      if (one === marked) return;
      marked = one;
      chart.draw();
    },
    resize: () => chart.resize(),
  };
}

// The live chart in Train CNS Step.
import { drawChart } from "./chart_drawing.js";
import { executionIds, rootOf } from "./graph.js";
import { addPanel, makeRoom } from "./node_tools.js";
import { latestTraining, trainingOf } from "./trainings.js";

const [CHART, STRIP] = [190, 128];

// Gives the node ``cnsUpdateChart``, to be called now and then: it draws where something has changed.
export function addChart(node) {
  const { element, status, canvas, strip, prompt } = build();
  const height = () => (element.style.display === "none" ? 0 : CHART + (strip.childElementCount ? STRIP : 0));
  addPanel(node, "cns_chart", element, height);
  let [drawn, shown] = ["", undefined];

  node.cnsUpdateChart = () => {
    // "Save As" gives the workflow another id: then it stays the training it was.
    const training = latestTraining(rootOf(node)?.id, executionIds(node)) ?? trainingOf(shown);
    shown = training?.number;
    const { number, rows, samples, state } = training ?? { rows: [], samples: [] };
    const now = [number, rows.length, samples.length, state, canvas.clientWidth, canvas.clientHeight].join();
    if (now === drawn) return;
    drawn = now;
    const before = height();
    element.style.display = training ? "flex" : "none";
    if (training) {
      status.textContent = describe(training);
      const css = getComputedStyle(element);
      showSamples(strip, samples);
      prompt.textContent = samples.at(-1)?.prompt ?? "";
      canvas.setAttribute("aria-label", `Losses of the training: ${status.textContent}`);
      const [faint, text] = ["--descrip-text", "--fg-color"].map((name) => css.getPropertyValue(name) || "#888");
      drawChart(canvas, training, { faint, text });
    }
    if (before !== height()) makeRoom(node);
  };

  new ResizeObserver(node.cnsUpdateChart).observe(canvas);
  element.style.display = "none";
}

function build() {
  const element = document.createElement("div");
  element.className = "cns-chart";
  element.style.cssText = "display: flex; flex-direction: column; width: 100%; height: 100%; overflow: hidden;";
  const status = document.createElement("div");
  status.className = "cns-chart-status";
  status.style.cssText = "font: 12px sans-serif; color: var(--fg-color, #ddd); padding: 2px 6px; white-space: nowrap;";
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.style.cssText = "position: absolute; inset: 0; width: 100%; height: 100%; display: block;";
  const frame = document.createElement("div"); // gives the canvas a height of its own where the editor gives none
  frame.style.cssText = "flex: 1 0 140px; position: relative;";
  frame.append(canvas);
  const strip = document.createElement("div");
  strip.className = "cns-samples";
  strip.dataset.scrolls = "";
  strip.dataset.captureWheel = "true"; // for nodes drawn by Vue, while it has the focus
  strip.tabIndex = 0;
  strip.style.cssText = "display: flex; gap: 4px; overflow-x: auto; padding: 4px 6px;";
  const prompt = document.createElement("div");
  prompt.className = "cns-sample-prompt";
  prompt.style.cssText =
    "font: 11px sans-serif; color: var(--descrip-text, #999); padding: 0 6px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;";
  element.append(status, frame, strip, prompt);
  return { element, status, canvas, strip, prompt };
}

// The previews in the order of their steps, and the newest in view unless somebody looks at another one.
function showSamples(strip, samples) {
  const key = (sample) => `${sample.step} ${sample.picture.length}`;
  const wanted = samples.map(key);
  const atEnd = strip.scrollLeft + strip.clientWidth >= strip.scrollWidth - 4;
  for (const figure of [...strip.children]) if (!wanted.includes(figure.dataset.key)) figure.remove();
  samples.forEach((sample, index) => {
    if (strip.children[index]?.dataset.key === wanted[index]) return;
    const figure = document.createElement("figure");
    figure.dataset.key = wanted[index];
    figure.style.cssText = "margin: 0; flex: none; text-align: center; font: 11px sans-serif; color: var(--descrip-text, #999);";
    const picture = document.createElement("img");
    picture.src = sample.picture;
    picture.alt = `${sample.prompt}, after step ${sample.step}`;
    picture.style.cssText = "width: 80px; height: 80px; display: block; image-rendering: auto;";
    figure.append(picture, `step ${sample.step}`);
    strip.insertBefore(figure, strip.children[index] ?? null);
  });
  if (atEnd) strip.scrollLeft = strip.scrollWidth;
}

export function describe(training) {
  const { rows, steps, seconds, state } = training;
  const speed = seconds > 0 ? rows.length / seconds : 0;
  const progress = `step ${rows.length}/${steps}`;
  const rate = speed >= 1 || speed === 0 ? `${speed.toFixed(1)} it/s` : `${(1 / speed).toFixed(1)} s/it`;
  if (state === "stopped") return `stopped at ${progress}`;
  if (state === "done") return `${steps} steps in ${clock(seconds)}, ${rate}`;
  return rows.length ? `${progress}, ${rate}, ${clock((steps - rows.length) / speed)} left` : "starting";
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [hours, ...rest] = parts;
  return (hours ? [hours, ...rest] : rest).map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

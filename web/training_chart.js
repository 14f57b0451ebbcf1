// @ts-check
// The live chart in Train CNS Step: losses, how far it is, previews.
import { curvesOf } from "./curves.js";
import { current, trainingOf } from "./live.js";
import { addPanel, make, makeRoom } from "./node_tools.js";
import { Previews } from "./previews.js";
import { say } from "./strings.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @import { Curve } from "./curves.js"
 * @import { LiveTraining } from "./live.js"
 * @import { Training } from "./training.js"
 */

const SVG = "http://www.w3.org/2000/svg";
const [CHART, PREVIEWS] = [180, 128]; // pixels

/** @type {WeakMap<GraphNode, TrainingChart>} a node that is removed, by undo or with its tab, takes its chart with it */
const charts = new WeakMap();

/** @param {GraphNode} node */
export function addChart(node) {
  charts.set(node, new TrainingChart(node));
}

/** @param {GraphNode} node */
export function updateChart(node) {
  charts.get(node)?.update();
}

class TrainingChart {
  /** @type {LiveTraining | undefined} */
  #shown;
  #node;
  #element = make("div", "cns-chart", { hidden: true, role: "group", ariaLabel: say("training") });
  #status = make("div", "cns-chart-status");
  #legend = make("div", "cns-chart-legend", { ariaHidden: "true" });
  #scale = make("div", "cns-chart-scale", { ariaHidden: "true" });
  #plot = document.createElementNS(SVG, "svg");
  #steps = make("div", "cns-chart-steps", { ariaHidden: "true" });
  #previews = new Previews();

  /** @param {GraphNode} node */
  constructor(node) {
    this.#node = node;
    this.#plot.setAttribute("viewBox", "0 0 1 1");
    this.#plot.setAttribute("preserveAspectRatio", "none");
    this.#plot.role = "img";
    const frame = make("div", "cns-chart-frame");
    frame.append(this.#scale, this.#plot, this.#steps);
    this.#element.append(this.#status, this.#legend, frame, this.#previews.element);
    addPanel(node, "cns_chart", this.#element, () => this.#height);
  }

  get #height() {
    return this.#element.hidden ? 0 : CHART + (this.#previews.isEmpty ? 0 : PREVIEWS);
  }

  update() {
    // "Save As" gives the workflow another id: then it stays the training it was.
    const training = trainingOf(this.#node) ?? (this.#shown && current(this.#shown));
    if (!training || training === this.#shown) return;
    this.#shown = training;
    const before = this.#height;
    this.#element.hidden = false;
    this.#status.textContent = describe(training);
    this.#draw(training);
    this.#previews.show(training);
    if (before !== this.#height) makeRoom(this.#node);
  }

  /** @param {Training} training */
  #draw({ rows, steps }) {
    const { curves, top } = curvesOf(rows, steps);
    this.#plot.replaceChildren(...curves.flatMap((curve) => [line(curve, "raw"), line(curve, "smooth")]));
    this.#plot.ariaLabel = say("losses", { values: curves.map(({ name, last }) => `${say(name)} ${written(name, last)}`).join(", ") });
    this.#legend.replaceChildren(...curves.map(legend));
    this.#scale.replaceChildren(...[top, top / 2, 0].map((value) => make("span", "", { textContent: short(value) })));
    this.#steps.replaceChildren(...["0", say("steps", { steps })].map((textContent) => make("span", "", { textContent })));
  }
}

/**
 * @param {Curve} curve
 * @param {"raw" | "smooth"} kind
 */
function line(curve, kind) {
  const drawn = document.createElementNS(SVG, "polyline");
  drawn.setAttribute("points", curve[kind]);
  drawn.setAttribute("class", `cns-${curve.name} cns-${kind}`);
  return drawn;
}

/** @param {Curve} curve */
function legend({ name, ownScale, top }) {
  const textContent = ownScale ? say("ownScale", { name: say(name), top: written(name, top) }) : say(name);
  return make("span", `cns-${name}`, { textContent });
}

/** @param {Training} training */
function describe({ rows, steps, earlier, seconds, progress }) {
  const step = rows.length;
  if (progress === "stopped") return say("stopped", { step, steps });
  const now = step - earlier;
  if (!now) return progress === "done" ? say("steps", { steps }) : say("starting");
  const perSecond = now / seconds;
  const speed = perSecond >= 1 ? say("perSecond", fixed(perSecond)) : say("perStep", fixed(1 / perSecond));
  if (progress === "done") return say("done", { steps, time: clock(seconds), speed });
  return say("running", { step, steps, speed, left: clock((steps - step) / perSecond) });
}

/** @param {number} value */
function fixed(value) {
  return { value: value.toFixed(1) };
}

/**
 * Like 0:07, 12:30 and 1:02:03.
 * @param {number} seconds
 */
function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const parts = hours ? [hours, minutes, rest] : [minutes, rest];
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/**
 * @param {Curve["name"]} name
 * @param {number} value
 */
function written(name, value) {
  return name === "moved" ? `${(100 * value).toFixed(1)} %` : short(value);
}

/** @param {number} loss */
function short(loss) {
  if (loss === 0) return "0";
  return loss >= 0.01 ? loss.toFixed(2) : loss.toExponential(1);
}

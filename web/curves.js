// @ts-check
// A training as curves, in a square of side 1 with y downwards.

/** @import { Row } from "./training.js" */

const COLUMNS = /** @type {const} */ (["instance", "prior", "regularization", "moved"]);
const SHARED_SCALE = 2; // so many: the regularization is far smaller, and what has moved is a share
const MOVED = 3; // which column
const SMOOTHING_SHARE = 0.05; // of the run
const MOST_POINTS = 1000;

/**
 * @typedef {object} Curve
 * @property {typeof COLUMNS[number]} name
 * @property {boolean} ownScale
 * @property {number} top the value at the upper edge
 * @property {number} last the newest value
 * @property {string} raw points as SVG takes them
 * @property {string} smooth
 */

/**
 * The columns that are ever above 0; those without a scale of their own share one. What has moved is what the regularization is
 * for, and says more: where it is known, it stands in its place.
 * @param {Row[]} rows
 * @param {number} steps of the whole run
 * @returns {{ curves: Curve[], top: number }} `top` of the shared scale
 */
export function curvesOf(rows, steps) {
  const holds = rows.some((row) => row[MOVED] > 0);
  const columns = COLUMNS.map((name, index) => {
    const values = rows.map((row) => row[index]);
    return { name, ownScale: index >= SHARED_SCALE, values, all: thinned(values) };
  }).filter(({ name, values }) => values.some((value) => value > 0) && !(name === "regularization" && holds));
  const top = highest(columns.filter(({ ownScale }) => !ownScale).flatMap(({ all }) => all));
  const curves = columns.map(({ name, ownScale, values, all }) => {
    const own = ownScale ? Math.max(...all) || 1 : top;
    const points = (/** @type {number[]} */ shown) => pointsOf(shown, values.length, own, steps);
    const [raw, smooth] = [all, thinned(smoothed(values, steps))].map(points);
    return { name, ownScale, top: own, last: values[values.length - 1], raw, smooth };
  });
  return { curves, top };
}

/**
 * The 98th percentile of many values: one spike at a low t would flatten everything else.
 * @param {number[]} values
 */
function highest(values) {
  const sorted = Float64Array.from(values).toSorted();
  return sorted[sorted.length < 100 ? sorted.length - 1 : Math.floor(0.98 * (sorted.length - 1))] || 1;
}

/** @param {number} count */
function strideOf(count) {
  return Math.max(1, Math.ceil(count / MOST_POINTS));
}

/** @param {number[]} values */
function thinned(values) {
  return values.filter((_, index) => index % strideOf(values.length) === 0);
}

/**
 * @param {number[]} thin
 * @param {number} count of the values before they were thinned
 * @param {number} top
 * @param {number} steps
 */
function pointsOf(thin, count, top, steps) {
  const stride = strideOf(count);
  return thin.map((value, i) => `${round((i * stride + 1) / steps)},${round(1 - Math.min(1, value / top))}`).join(" ");
}

/** @param {number} value */
function round(value) {
  return Number(value.toFixed(4));
}

/**
 * Exponential mean over a twentieth of the run, without the pull of its start.
 * @param {number[]} values
 * @param {number} steps
 */
export function smoothed(values, steps) {
  const keep = 1 - 1 / Math.max(1, SMOOTHING_SHARE * steps);
  let [mean, weight] = [0, 0];
  return values.map((value) => {
    mean = keep * mean + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return mean / weight;
  });
}

// @ts-check
// A training as this page knows it: what the server has told so far, put together.

/**
 * @typedef {{ step: number, prompt: string, picture: string }} Sample `picture`: a data URL
 * @typedef {[instance: number, prior: number, regularization: number, moved: number]} Row of one step: its losses, and the
 *   largest share by which K and V of what is held have moved
 * @typedef {object} Training
 * @property {number} number larger for later trainings
 * @property {number} steps in all
 * @property {number} first how many steps are done before the first of `rows`
 * @property {Row[]} rows
 * @property {Sample[]} samples
 * @property {number} seconds since it began or was resumed, when `earlier` steps had been done
 * @property {number} earlier
 * @property {"running" | "done" | "stopped"} progress
 */

const SAMPLES = 50; // as many as the server keeps

/**
 * What is known with a message added to it, which may be late or repeat something; undefined where rows before it are missing.
 * @template {Training} T
 * @param {T | undefined} known
 * @param {T} message
 * @returns {T | undefined}
 */
export function extended(known, message) {
  if (message.first > (known?.rows.length ?? 0)) return undefined;
  if (!known) return message;
  const isNew = message.first + message.rows.length > known.rows.length;
  return {
    ...message,
    first: 0,
    rows: isNew ? [...known.rows.slice(0, message.first), ...message.rows] : known.rows,
    samples: message.samples.length ? together(known.samples, message.samples) : known.samples,
    seconds: Math.max(known.seconds, message.seconds),
    progress: known.progress === "running" ? message.progress : known.progress,
  };
}

/**
 * @param {Sample[]} known
 * @param {Sample[]} added
 */
function together(known, added) {
  const bySteps = new Map([...known, ...added].map((sample) => [sample.step, sample]));
  return [...bySteps.values()].toSorted((a, b) => a.step - b.step).slice(-SAMPLES);
}

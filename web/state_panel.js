// @ts-check
// The concepts of a node's state: for each its token, class noun and neurons; and how much of the budget is used.
import { stateOfFile } from "./state_files.js";
import { stateOfRun } from "./live.js";
import { addPanel, make, makeRoom } from "./node_tools.js";
import { say } from "./strings.js";
import { tokenChip } from "./token_chip.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @typedef {object} Concept
 * @property {string} token
 * @property {string} noun
 * @property {number} weights it trains
 * @property {number} share of all K/V weights
 * @property {{ token: string, iou: number }[]} overlaps the largest first
 * @typedef {{ concepts: Concept[], used: number, checkpoint: string }} State as `state_record` of cns_core/figures.py gives it
 */

const [ROW, FOOT, MOST_ROWS] = [24, 24, 8]; // pixels, and rows before the panel scrolls
const PROPERTY = "cns_state"; // kept in the workflow, so that a reloaded page shows it before the next run

/** @type {WeakMap<GraphNode, { element: HTMLElement, shown?: State }>} */
const panels = new WeakMap();

/**
 * The state of a node's file, or of its last run.
 * @param {GraphNode} node
 * @returns {State | undefined}
 */
export function stateOf(node) {
  if (node.comfyClass === "CNS_LoadState") return stateOfFile(node);
  return stateOfRun(node) ?? /** @type {State | undefined} */ (node.properties[PROPERTY]);
}

/** @param {GraphNode} node */
export function addStatePanel(node) {
  const element = make("div", "cns-state", { hidden: true, role: "group", ariaLabel: say("concepts") });
  panels.set(node, { element });
  addPanel(node, "cns_state", element, () => {
    const rows = Math.min(MOST_ROWS, element.childElementCount - 1);
    return rows > 0 ? ROW * rows + FOOT : 0;
  });
}

/** @param {GraphNode} node */
export function updateStatePanel(node) {
  const panel = panels.get(node);
  const state = stateOf(node);
  if (!panel || state === panel.shown) return;
  panel.shown = state;
  const { element } = panel;
  const before = element.childElementCount;
  if (state && state === stateOfRun(node)) node.properties[PROPERTY] = state;
  element.hidden = !state?.concepts.length;
  element.replaceChildren(...(state?.concepts.length ? [...state.concepts.map(row), foot(state)] : []));
  if (before !== element.childElementCount) makeRoom(node);
}

/** @param {Concept} concept */
function row(concept) {
  const overlaps = concept.overlaps.map(({ token, iou }) => `${token} ${percent(iou)}`);
  const neurons = say("neurons", { count: concept.weights.toLocaleString(), share: percent(concept.share) });
  const facts = make("span", "cns-facts", {
    textContent: [neurons, ...overlaps.slice(0, 1).map((nearest) => say("overlaps", { nearest }))].join(", "),
    title: [say("neuronsHelp"), ...(overlaps.length ? [say("overlapHelp"), ...overlaps] : [])].join("\n"),
  });
  const line = make("div", "cns-concept");
  line.append(tokenChip(concept), concept.noun, facts);
  return line;
}

/** @param {State} state */
function foot({ used, checkpoint }) {
  const text = say("used", { share: percent(used), checkpoint });
  return make("div", "cns-facts cns-state-foot", { textContent: text, title: text });
}

/** @param {number} share */
function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

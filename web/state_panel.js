// @ts-check
// The concepts of a node's state: for each its token, class noun and neurons; and how much of the budget is used.
import { conceptActions, paintActions } from "./concept_actions.js";
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
 * @property {number | null} moved by which share K and V of its prompts have moved since it was taught; null: nobody kept them
 * @property {{ token: string, iou: number }[]} overlaps the largest ones, the largest first
 * @typedef {{ concepts: Concept[], history: boolean, used: number, checkpoint: string }} State as the
 *   server's state_record gives it
 */

const [ROW, FOOT, MOST_ROWS] = [24, 24, 8]; // pixels, and rows before the panel scrolls
const PROPERTY = "cns_state"; // kept in the workflow, so that a reloaded page shows it before the next run

/** @type {WeakMap<GraphNode, { element: HTMLElement, shown?: State }>} */
const panels = new WeakMap();
/** @type {WeakSet<State>} written into the workflow already; writing one again after an undo would break redo */
const stored = new WeakSet();

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
  if (!panel) return; // before the state is looked for, which takes a walk through the workflow
  const state = stateOf(node);
  if (state !== panel.shown) show(node, panel, state);
  state?.concepts.forEach(({ token }, number) => paintActions(node, rowOf(panel.element, number), token));
}

/**
 * @param {GraphNode} node
 * @param {{ element: HTMLElement, shown?: State }} panel
 * @param {State | undefined} state
 */
function show(node, panel, state) {
  panel.shown = state;
  const { element } = panel;
  const before = element.childElementCount;
  if (state && state === stateOfRun(node) && !stored.has(state)) {
    stored.add(state);
    node.properties[PROPERTY] = state;
  }
  element.hidden = !state?.concepts.length;
  element.replaceChildren(...(state?.concepts.length ? [...state.concepts.map((concept) => row(node, state, concept)), foot(state)] : []));
  if (before !== element.childElementCount) makeRoom(node);
}

/**
 * @param {HTMLElement} element
 * @param {number} number
 */
function rowOf(element, number) {
  return /** @type {HTMLElement} */ (element.children[number]);
}

/**
 * @param {GraphNode} node
 * @param {State} state
 * @param {Concept} concept
 */
function row(node, { history }, concept) {
  const overlaps = concept.overlaps.map(({ token, iou }) => `${token} ${percent(iou)}`);
  const neurons = say("neurons", { count: concept.weights.toLocaleString(), share: percent(concept.share) });
  const moved = concept.moved == null ? [] : [say("movedSince", { share: percent(concept.moved) })];
  const facts = make("span", "cns-facts", {
    textContent: [neurons, ...moved, ...overlaps.slice(0, 1).map((nearest) => say("overlaps", { nearest }))].join(", "),
    title: [say("neuronsHelp"), ...moved.map(() => say("movedHelp")), ...(overlaps.length ? [say("overlapHelp"), ...overlaps] : [])].join("\n"),
  });
  const line = make("div", "cns-concept");
  line.append(tokenChip(concept), concept.noun, facts, ...conceptActions(node, concept.token, history));
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

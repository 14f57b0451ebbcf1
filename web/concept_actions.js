// @ts-check
// What one can do with a concept in Apply CNS State: mute it for these pictures, or take it out of the state for good.
import { app } from "../../scripts/app.js";
import { captionOf, isWired, linkOf, upstream, valueOf } from "./graph.js";
import { make } from "./node_tools.js";
import { refresh } from "./refresh.js";
import { say } from "./strings.js";

/** @import { GraphNode } from "../../scripts/app.js" */

const [APPLY, TRAIN, REMOVE] = ["CNS_ApplyState", "CNS_TrainStep", "CNS_RemoveConcept"];
const STRENGTHS = "concept_strengths";
const NEEDED = ["model", "clip", "state"]; // by both nodes, under the same names
const STRENGTH = /(<[^<>\s]+>)\s*:?\s*([^\s,;<>]+)/g; // as cns_core/history.py reads it
const BELOW = 60; // pixels

/**
 * Buttons, none for nodes that only show a state.
 * @param {GraphNode} node
 * @param {string} token
 * @param {boolean} history whether single concepts can have a strength
 */
export function conceptActions(node, token, history) {
  if (node.comfyClass !== APPLY) return [];
  const mute = button("cns-mute", () => setMuted(node, token, !isMuted(node, token)));
  const remove = button("cns-remove", () => insertRemove(node, token));
  remove.textContent = say("remove");
  remove.title = say("removeHelp", { token });
  return history ? [mute, remove] : [remove];
}

/**
 * Keeps a concept's row true to the widget and the wires, whoever changed them.
 * @param {GraphNode} node
 * @param {HTMLElement} row
 * @param {string} token
 */
export function paintActions(node, row, token) {
  const [muted, removed] = [isMuted(node, token), isRemoved(node, token)];
  const mute = /** @type {HTMLButtonElement | null} */ (row.querySelector(".cns-mute"));
  const remove = /** @type {HTMLButtonElement | null} */ (row.querySelector(".cns-remove"));
  row.classList.toggle("cns-muted", muted || removed);
  if (mute) {
    mute.textContent = say(muted ? "unmute" : "mute");
    mute.title = say(muted ? "unmuteHelp" : "muteHelp", { token });
    mute.disabled = removed || isWired(node, STRENGTHS);
  }
  if (remove) remove.disabled = removed || !NEEDED.every((name) => originOf(node, name));
}

/**
 * @param {string} className
 * @param {() => void} act
 */
function button(className, act) {
  const made = make("button", `cns-action ${className}`, { type: "button" });
  made.addEventListener("click", () => {
    act();
    app.canvas.graph.setDirtyCanvas(true, true);
    refresh();
  });
  return made;
}

/**
 * What the widget says, as pairs of token and number.
 * @param {GraphNode} node
 */
function strengths(node) {
  return [...String(valueOf(node, STRENGTHS) ?? "").matchAll(STRENGTH)].map(([, token, number]) => ({ token, number }));
}

/**
 * @param {string} one
 * @param {string} other
 */
function same(one, other) {
  return one.toLowerCase() === other.toLowerCase();
}

/**
 * @param {GraphNode} node
 * @param {string} token
 */
function isMuted(node, token) {
  return strengths(node).some((strength) => same(strength.token, token) && Number(strength.number) === 0);
}

/**
 * @param {GraphNode} node
 * @param {string} token
 * @param {boolean} muted
 */
function setMuted(node, token, muted) {
  const widget = node.widgets?.find(({ name }) => name === STRENGTHS);
  if (!widget) return;
  const others = strengths(node).filter((strength) => !same(strength.token, token));
  const all = muted ? [...others, { token, number: "0" }] : others;
  widget.value = all.map((strength) => `${strength.token} ${strength.number}`).join(", ");
  widget.callback?.(widget.value);
}

/**
 * Whether a Remove CNS Concept on the way to the node takes it out, and it is not taught again after that.
 * @param {GraphNode} node
 * @param {string} token
 */
function isRemoved(node, token) {
  const concerned = (/** @type {GraphNode} */ found) => {
    const named = found.comfyClass === REMOVE ? found : found.comfyClass === TRAIN ? captionOf(found) : undefined;
    return same(String(valueOf(named, "token") ?? "").trim(), token);
  };
  return upstream(node, "CNS_STATE", concerned)?.comfyClass === REMOVE;
}

/**
 * The node and output an input is wired to; undefined where that is outside the subgraph.
 * @param {GraphNode} node
 * @param {string} name
 */
function originOf(node, name) {
  const id = node.inputs?.find((input) => input.name === name)?.link;
  const link = node.graph && id != null ? linkOf(node.graph, id) : undefined;
  const source = link && node.graph?.getNodeById(link.origin_id);
  return source ? { source, slot: link.origin_slot } : undefined;
}

/**
 * A Remove CNS Concept between the node and its state.
 * @param {GraphNode} node
 * @param {string} token
 */
function insertRemove(node, token) {
  const remove = LiteGraph.createNode(REMOVE);
  remove.pos = [node.pos[0], node.pos[1] + node.size[1] + BELOW];
  node.graph?.add(remove);
  for (const name of NEEDED) {
    const wired = originOf(node, name);
    wired?.source.connect(wired.slot, remove, name);
  }
  const widget = remove.widgets?.find(({ name }) => name === "token");
  if (widget) widget.value = token;
  remove.connect(0, node, "state");
}

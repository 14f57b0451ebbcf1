// @ts-check
// What is in the file that a Load CNS State names: known as soon as it is chosen, and looked up again after each run.
import { api } from "../../scripts/api.js";
import { STATE_ROUTE } from "./events.js";
import { valueOf } from "./graph.js";
import { stateOfRun } from "./live.js";
import { onChange } from "./node_tools.js";
import { refresh } from "./refresh.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @import { State } from "./state_panel.js"
 */

const FILE = "state_name";

/**
 * @typedef {{ name: string, run?: State, state?: State }} Looked the file looked into last, and the node's run at that time: a
 *   later run may have found another file there
 * @type {WeakMap<GraphNode, Looked>}
 */
const looked = new WeakMap();

/** @param {GraphNode} node */
export function followFile(node) {
  const file = node.widgets?.find((widget) => widget.name === FILE);
  if (file) onChange(file, () => (looked.delete(node), refresh())); // the same name may be another file by now
}

/**
 * Undefined until the server has answered, and where the name is wired in.
 * @param {GraphNode} node
 */
export function stateOfFile(node) {
  const name = valueOf(node, FILE);
  if (typeof name !== "string" || !name) return undefined;
  const last = looked.get(node);
  if (last?.name !== name || last.run !== stateOfRun(node)) look(node, name);
  return looked.get(node)?.state;
}

/**
 * @param {GraphNode} node
 * @param {string} name
 */
async function look(node, name) {
  const before = looked.get(node);
  /** @type {Looked} */
  const file = { name, run: stateOfRun(node), state: before?.name === name ? before.state : undefined };
  looked.set(node, file);
  try {
    const answer = await api.fetchApi(`${STATE_ROUTE}?name=${encodeURIComponent(name)}`);
    file.state = answer.ok ? await answer.json() : undefined;
    refresh();
  } catch {
    if (looked.get(node) === file) looked.delete(node); // the server is gone: once it is back, the page is drawn again
  }
}

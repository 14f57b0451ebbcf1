// @ts-check
// What is in the file that a Load CNS State names: known as soon as it is chosen, not only after a run.
import { api } from "../../scripts/api.js";
import { STATE_ROUTE } from "./events.js";
import { valueOf } from "./graph.js";
import { onChange } from "./node_tools.js";
import { refresh } from "./refresh.js";

/**
 * @import { GraphNode } from "../../scripts/app.js"
 * @import { State } from "./state_panel.js"
 */

const FILE = "state_name";

/** @type {WeakMap<GraphNode, { name: string, state?: State }>} the file that was looked into last */
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
  if (looked.get(node)?.name !== name) look(node, name);
  return looked.get(node)?.state;
}

/**
 * @param {GraphNode} node
 * @param {string} name
 */
async function look(node, name) {
  /** @type {{ name: string, state?: State }} */
  const file = { name };
  looked.set(node, file);
  const route = `${STATE_ROUTE}?name=${encodeURIComponent(name)}`;
  file.state = await api.fetchApi(route).then((answer) => (answer.ok ? answer.json() : undefined)).catch(() => undefined);
  refresh();
}

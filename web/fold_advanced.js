// @ts-check
// Nodes drawn on the canvas know folded widgets too, but not that the server calls them advanced, and leave their room empty.
// "Show Advanced" in the node's menu unfolds them.

/** @import { GraphNode } from "../../scripts/app.js" */

const [WIDGET_HEIGHT, WIDGET_GAP] = [20, 4]; // pixels, as the canvas lays widgets out

/** @param {GraphNode} node */
export function foldAdvanced(node) {
  const advanced = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
  for (const widget of advanced) {
    widget.advanced = true;
    widget.computeSize = (width) => (node.showAdvanced ? [width, WIDGET_HEIGHT] : [0, -WIDGET_GAP]);
  }
  if (advanced.length) node.setSize([node.size[0], node.computeSize()[1]]);
}

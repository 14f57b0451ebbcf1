// @ts-check
// Nodes drawn on the canvas know folded widgets too, but not that the server calls them advanced, and leave their room empty.
// "Show Advanced" in the node's menu unfolds them.

/** @import { GraphNode } from "../../scripts/app.js" */

const WIDGET_GAP = 4; // pixels, as the canvas lays widgets out

/** @param {GraphNode} node */
export function foldAdvanced(node) {
  const advanced = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
  for (const widget of advanced) {
    widget.advanced = true;
    let own = widget.computeSize;
    Object.defineProperty(widget, "computeSize", {
      configurable: true,
      get: () => (node.showAdvanced ? own : () => [0, -WIDGET_GAP]),
      set(other) {
        own = other;
      },
    });
  }
  if (advanced.length) node.setSize([node.size[0], node.computeSize()[1]]);
}

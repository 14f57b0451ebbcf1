// Small things every widget of the pack does with its node.
import { app } from "../../scripts/app.js";

// Calls ``after`` whenever ``target[name]`` has been called, with the same arguments.
export function chain(target, name, after) {
  const before = target[name];
  target[name] = function (...args) {
    const result = before?.apply(this, args);
    after(...args);
    return result;
  };
}

// The editor keeps this many pixels of a DOM widget's height free around its element.
export const WIDGET_MARGIN = 20;

// A widget that shows ``element``, ``height()`` pixels high, and is not part of the saved workflow.
export function addPanel(node, name, element, height) {
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false,
    getMinHeight: height,
    getMaxHeight: height,
    selectOn: [], // a click on it is no click on the node
  });
  widget.serialize = false;
  element.addEventListener("wheel", (event) => {
    const scrolls = element.scrollHeight > element.clientHeight || event.target.closest("[data-scrolls]");
    const drawnByVue = element.closest("[data-node-id]"); // such a node hands the event on itself
    if (!scrolls && !drawnByVue) app.canvas.processMouseWheel?.(event); // zooms, as everywhere on the canvas
  });
  return widget;
}

// Grows the node by what its widgets need, never shrinks what the user has set.
export function makeRoom(node) {
  const needed = node.computeSize();
  node.setSize([Math.max(node.size[0], needed[0]), Math.max(node.size[1], needed[1])]);
  node.graph?.setDirtyCanvas(true, true);
}

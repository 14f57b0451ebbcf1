// @ts-check
// Small things every widget of the pack does with its node.
import { app } from "../../scripts/app.js";

/** @import { GraphNode, Widget } from "../../scripts/app.js" */

const WIDGET_MARGIN = 20; // pixels of a DOM widget's height that the editor keeps free around its element

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {Partial<HTMLElementTagNameMap[Tag]>} [properties]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, className, properties) {
  return Object.assign(document.createElement(tag), { className }, properties);
}

/**
 * A widget that shows `element`, and is not part of the saved workflow.
 * @param {GraphNode} node
 * @param {string} name
 * @param {HTMLElement} element
 * @param {() => number} height of the element in pixels; 0 where it is hidden
 */
export function addPanel(node, name, element, height) {
  const room = () => (height() ? height() + WIDGET_MARGIN : 0);
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false,
    getMinHeight: room,
    getMaxHeight: room,
    selectOn: [], // a click on it does not select the node
  });
  widget.serialize = false;
  element.dataset.captureWheel = "true"; // for nodes drawn by Vue, while it has the focus
  element.addEventListener("wheel", (event) => {
    const target = /** @type {Element} */ (event.target);
    const scrolls = element.scrollHeight > element.clientHeight || target.closest(".cns-samples");
    const drawnByVue = element.closest("[data-node-id]"); // such a node hands the event on itself
    if (!scrolls && !drawnByVue) app.canvas.processMouseWheel?.(event); // zooms, as everywhere on the canvas
  });
}

/**
 * Calls `after` whenever the widget's value has been changed by hand.
 * @param {Widget} widget
 * @param {() => void} after
 */
export function onChange(widget, after) {
  const before = widget.callback;
  widget.callback = function (...values) {
    before?.apply(this, values);
    after();
  };
}

/**
 * Grows the node by what its widgets need, never shrinks what the user has set.
 * @param {GraphNode} node
 */
export function makeRoom(node) {
  const needed = node.computeSize();
  node.setSize([Math.max(node.size[0], needed[0]), Math.max(node.size[1], needed[1])]);
  node.graph?.setDirtyCanvas(true, true);
}

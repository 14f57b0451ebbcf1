// @ts-check
// Draws what has changed, once a frame at most and not at all while the page is hidden.

/** @type {(() => void)[]} */
const listeners = [];
let frame = 0;

/** @param {() => void} draw */
export function onRefresh(draw) {
  listeners.push(draw);
}

export function refresh() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    for (const draw of listeners) draw();
  });
}

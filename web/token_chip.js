// @ts-check
// A button with a concept's token, which it writes into a prompt.
import { app } from "../../scripts/app.js";
import { isWired } from "./graph.js";
import { make } from "./node_tools.js";
import { say } from "./strings.js";

/**
 * @import { GraphNode, Widget } from "../../scripts/app.js"
 * @import { Concept } from "./state_panel.js"
 */

const ANSWER_MS = 900; // how long the chip says what became of a click

/** @type {{ prompt?: Widget } | undefined} where a chip will write: found before the press selects and focuses */
let pressed;

document.addEventListener(
  "pointerdown",
  ({ target }) => {
    const isChip = /** @type {Element | null} */ (target)?.closest?.(".cns-token");
    pressed = isChip ? { prompt: selectedPrompt() ?? focusedPrompt() } : undefined;
  },
  true,
);

/** @param {Concept} concept */
export function tokenChip({ token, noun }) {
  const words = `${token} ${noun}`;
  const title = say("give", { words });
  const chip = make("button", "cns-token", { textContent: token, title, type: "button", ariaLive: "polite" });
  chip.addEventListener("click", async () => {
    chip.textContent = await give(words);
    setTimeout(() => (chip.textContent = token), ANSWER_MS);
  });
  return chip;
}

/**
 * Into the prompt that is selected or being edited, or onto the clipboard.
 * @param {string} words
 */
async function give(words) {
  const { prompt } = pressed ?? { prompt: selectedPrompt() }; // the keyboard presses nothing
  pressed = undefined;
  if (!prompt) return say((await copied(words)) ? "copied" : "notCopied");
  prompt.value = `${prompt.value} ${words}`.trim();
  prompt.callback?.(prompt.value);
  app.canvas.graph.setDirtyCanvas(true, true);
  return say("added");
}

function selectedPrompt() {
  return Object.values(app.canvas.selected_nodes ?? {}).map(promptOf).find(Boolean);
}

function focusedPrompt() {
  const focused = document.activeElement;
  if (focused?.tagName !== "TEXTAREA") return undefined;
  const id = /** @type {HTMLElement | null} */ (focused.closest("[data-node-id]"))?.dataset.nodeId; // nodes drawn by Vue
  for (const node of app.canvas.graph.nodes ?? []) {
    const prompt = promptOf(node);
    if (prompt && (prompt.element === focused || prompt.inputEl === focused || String(node.id) === id)) return prompt;
  }
  return undefined;
}

/**
 * The text a node is prompted with; undefined where that is wired in.
 * @param {GraphNode} node
 * @returns {Widget | undefined}
 */
function promptOf(node) {
  return isWired(node, "text") ? undefined : node.widgets?.find((widget) => widget.name === "text");
}

/**
 * Browsers give pages no clipboard on plain http from another machine; the old command still works there.
 * @param {string} words
 */
async function copied(words) {
  if (navigator.clipboard) return navigator.clipboard.writeText(words).then(() => true, () => false);
  const area = make("textarea", "", { value: words });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

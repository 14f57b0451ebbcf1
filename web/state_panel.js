// The concepts of a node's state: a chip for each token, its class noun, its neurons, the budget used.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { STATE_ROUTE } from "./events.js";
import { executionIds, rootOf } from "./graph.js";
import { addPanel, chain, makeRoom, WIDGET_MARGIN } from "./node_tools.js";
import { latestState } from "./states.js";

const [ROW, FOOT, MOST_ROWS] = [24, 24, 8];
const PROPERTY = "cns_state"; // kept in the workflow, so that a reloaded page shows it before the next run

export function stateOf(node) {
  return node.cnsState ?? node.properties?.[PROPERTY];
}

export function addStatePanel(node) {
  const element = document.createElement("div");
  element.className = "cns-state";
  element.style.cssText = "display: none; width: 100%; overflow: auto; font: 12px sans-serif; color: var(--fg-color, #ddd);";
  element.dataset.captureWheel = "true"; // for nodes drawn by Vue, while it has the focus
  addPanel(node, "cns_state", element, () => {
    const rows = Math.min(MOST_ROWS, stateOf(node)?.concepts?.length ?? 0);
    return rows ? ROW * rows + FOOT + WIDGET_MARGIN : 0;
  });

  function draw() {
    const { concepts, ...rest } = stateOf(node) ?? {};
    const before = element.childElementCount;
    element.style.display = concepts ? "block" : "none";
    element.replaceChildren(...(concepts ? [...concepts.map(row), foot(rest)] : []));
    if (before !== element.childElementCount) makeRoom(node);
  }

  if (node.comfyClass === "CNS_LoadState") followFile(node, draw);
  else followRuns(node, draw);
  chain(node, "onConfigure", draw);
}

// Gives the node ``cnsUpdateState``, to be called now and then.
function followRuns(node, draw) {
  let seen;
  node.cnsUpdateState = () => {
    const state = latestState(rootOf(node)?.id, executionIds(node));
    if (!state || state === seen) return;
    seen = state;
    if (JSON.stringify(state) !== JSON.stringify(stateOf(node))) node.properties[PROPERTY] = state;
    draw();
  };
}

// The panel of Load CNS State shows the chosen file at once, not after a run.
function followFile(node, draw) {
  const file = node.widgets?.find((widget) => widget.name === "state_name");
  if (!file) return;
  const chosen = () => {
    const wired = node.inputs?.some((input) => input.name === "state_name" && input.link != null);
    return wired ? "" : file.value; // wired: nobody can say before a run
  };
  const look = async () => {
    const name = chosen();
    const answer = name ? await api.fetchApi(`${STATE_ROUTE}?name=${encodeURIComponent(name)}`).catch(() => undefined) : undefined;
    const state = answer?.ok ? await answer.json() : undefined;
    if (name !== chosen()) return; // another file was chosen meanwhile
    node.cnsState = state;
    draw();
  };
  let timer;
  const lookSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, 50); // a node is made with one file and then configured with another
  };
  chain(file, "callback", lookSoon);
  chain(node, "onConfigure", lookSoon);
  chain(node, "onConnectionsChange", lookSoon);
  lookSoon();
}

function row(concept) {
  const line = document.createElement("div");
  line.style.cssText = `display: flex; align-items: center; gap: 6px; height: ${ROW}px; padding: 0 6px; white-space: nowrap;`;
  const chip = document.createElement("button");
  chip.className = "cns-token";
  chip.textContent = concept.token;
  chip.title = "Click: put it into the selected prompt, or into the clipboard";
  chip.setAttribute("aria-live", "polite");
  chip.style.cssText =
    "border: 1px solid var(--border-color, #555); border-radius: 9px; padding: 0 8px; cursor: pointer; font: inherit;" +
    "background: var(--comfy-input-bg, #222); color: var(--input-text, #ddd);";
  chip.addEventListener("click", () => give(chip, concept));
  const facts = document.createElement("span");
  facts.style.cssText = "overflow: hidden; text-overflow: ellipsis; color: var(--descrip-text, #999);";
  const overlaps = concept.overlaps.map(({ token, iou }) => `${token} ${percent(iou)}`);
  const nearest = overlaps.length ? `, overlaps ${overlaps[0]}` : "";
  facts.textContent = `${concept.weights.toLocaleString()} neurons (${percent(concept.share)})${nearest}`;
  const others = overlaps.length ? ["Overlap (IoU) with:", ...overlaps] : [];
  facts.title = ["Neurons it trains, their share of all K/V weights.", ...others].join("\n");
  line.append(chip, concept.noun, facts);
  return line;
}

function foot(state) {
  const line = document.createElement("div");
  line.style.cssText =
    `height: ${FOOT}px; padding: 4px 6px; color: var(--descrip-text, #999); white-space: nowrap;` +
    "overflow: hidden; text-overflow: ellipsis;";
  line.textContent = line.title = `${percent(state.used)} of K/V used, checkpoint ${state.checkpoint}`;
  return line;
}

let pressed; // where a chip that is being pressed will write: known before the press itself selects and focuses

document.addEventListener(
  "pointerdown",
  ({ target }) => (pressed = target.closest?.(".cns-token") ? { text: selectedPrompt() ?? focusedPrompt() } : undefined),
  true,
);

// The text a node is prompted with; undefined where that is wired in.
function promptOf(node) {
  const wired = node.inputs?.some((input) => input.name === "text" && input.link != null);
  return wired ? undefined : node.widgets?.find((widget) => widget.name === "text");
}

function selectedPrompt() {
  return Object.values(app.canvas.selected_nodes ?? {}).map(promptOf).find(Boolean);
}

function focusedPrompt() {
  const focused = document.activeElement;
  if (focused?.tagName !== "TEXTAREA") return undefined;
  const id = focused.closest("[data-node-id]")?.dataset.nodeId; // nodes drawn by Vue
  const prompts = app.canvas.graph.nodes.map((node) => [node, promptOf(node)]);
  const isFocused = (node, widget) => widget?.element === focused || widget?.inputEl === focused || String(node.id) === id;
  return prompts.find(([node, widget]) => widget && isFocused(node, widget))?.[1];
}

// Into the prompt that is selected or being edited, or onto the clipboard.
async function give(chip, concept) {
  const words = `${concept.token} ${concept.noun}`;
  const { text } = pressed ?? { text: selectedPrompt() };
  pressed = undefined;
  if (text) {
    text.value = `${text.value} ${words}`.trim();
    text.callback?.(text.value);
    app.graph.setDirtyCanvas(true, true);
  }
  chip.textContent = text ? "added" : (await copied(words)) ? "copied" : "not copied";
  setTimeout(() => (chip.textContent = concept.token), 900);
}

// Browsers give pages no clipboard on plain http from another machine; the old command still works there.
async function copied(words) {
  if (navigator.clipboard) return navigator.clipboard.writeText(words).then(() => true, () => false);
  const area = document.createElement("textarea");
  area.value = words;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

// Looks over prompts that go through Apply CNS State: are their tokens known, and does each stand beside its class noun?
import { upstream } from "./graph.js";
import { addPanel, makeRoom, WIDGET_MARGIN } from "./node_tools.js";
import { stateOf } from "./state_panel.js";
import { hasNoun, wordsOf } from "./words.js";

const TOKEN = /<[^\s<>():\\,{}|/]+>/g;
const BESIDE = 4; // words between a token and its noun, at most

export function checkPrompt(node) {
  const text = node.widgets?.find((widget) => widget.name === "text" && typeof widget.value === "string");
  if (!text || !node.inputs?.some((input) => input.type === "CLIP")) return;
  const wired = node.inputs.some((input) => input.name === "text" && input.link != null); // then the text is elsewhere
  const concepts = wired ? undefined : conceptsBehind(node);
  show(node, concepts ? complaint(text.value, concepts) : "");
}

// What the Apply CNS State knows that this node's CLIP comes from; undefined where nobody can say before a run.
function conceptsBehind(node) {
  const apply = upstream(node, "CLIP", (found) => found.comfyClass === "CNS_ApplyState");
  const source = apply && sourceOfState(apply);
  return source ? conceptsOf(source) : apply && stateOf(apply)?.concepts;
}

function sourceOfState(node) {
  return upstream(node, "CNS_STATE", (found) => ["CNS_LoadState", "CNS_TrainStep"].includes(found.comfyClass));
}

// A training adds the concept that is wired into it, whether it has run yet or not. Half-way through an edit a training's state
// may lead back to itself.
function conceptsOf(source, seen = new Set()) {
  if (source.comfyClass === "CNS_LoadState") return stateOf(source)?.concepts;
  if (seen.has(source)) return undefined;
  seen.add(source);
  const before = sourceOfState(source);
  const goesOn = source.inputs?.some((input) => input.name === "previous_state" && input.link != null);
  const earlier = before ? conceptsOf(before, seen) : goesOn ? undefined : [];
  const caption = upstream(source, "CNS_CONCEPT", (found) => found.comfyClass === "CNS_CaptionConceptImages");
  const token = widgetValue(caption, "token");
  if (!earlier || !token) return undefined;
  const learned = stateOf(source)?.concepts?.find((concept) => concept.token === token);
  return [...earlier, { token, noun: widgetValue(caption, "noun") ?? learned?.noun }];
}

function widgetValue(node, name) {
  const wired = node?.inputs?.some((input) => input.name === name && input.link != null);
  return wired ? undefined : node?.widgets?.find((widget) => widget.name === name)?.value;
}

export function complaint(prompt, concepts) {
  const known = new Map(concepts.map((concept) => [concept.token.toLowerCase(), concept]));
  for (const { 0: token, index } of prompt.matchAll(TOKEN)) {
    const concept = known.get(token.toLowerCase());
    if (!concept) return `This state does not know ${token}. It knows ${[...known.keys()].join(", ") || "no token yet"}.`;
    if (concept.noun && !isBeside(prompt, index, token, concept.noun)) {
      return `${token} works best beside its noun: write ${token} ${concept.noun}`;
    }
  }
  return "";
}

function isBeside(prompt, index, token, noun) {
  const reach = BESIDE + wordsOf(noun).length;
  const near = [wordsOf(prompt.slice(0, index)).slice(-reach), wordsOf(prompt.slice(index + token.length)).slice(0, reach)];
  return near.some((words) => hasNoun(words, noun)); // two <new1> dogs
}

function show(node, message) {
  if (!message && !node.cnsHelp) return;
  node.cnsHelp ??= build(node);
  if (node.cnsHelp.textContent === message) return;
  node.cnsHelp.textContent = message;
  node.cnsHelp.style.display = message ? "block" : "none";
  makeRoom(node);
}

function build(node) {
  const element = document.createElement("div");
  element.className = "cns-prompt-help";
  element.setAttribute("role", "status");
  element.style.cssText =
    "font: 12px sans-serif; color: var(--fg-color, #ddd); border-left: 3px solid #ffb84d; padding: 2px 6px; overflow: hidden;";
  addPanel(node, "cns_prompt_help", element, () => (element.textContent ? 34 + WIDGET_MARGIN : 0));
  return element;
}

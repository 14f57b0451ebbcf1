// @ts-check
// The pictures a training has drawn so far, in a strip.
import { make } from "./node_tools.js";
import { say } from "./strings.js";

/** @import { Sample, Training } from "./training.js" */

const NEAR_END = 4; // pixels

export class Previews {
  element = make("div", "cns-previews", { hidden: true });
  #strip = make("div", "cns-samples", { role: "group", ariaLabel: say("previews"), tabIndex: 0 });
  #prompt = make("div", "cns-sample-prompt");
  /** @type {Sample[]} */
  #shown = [];
  /** @type {Map<Sample, HTMLElement>} */
  #figures = new Map();

  constructor() {
    this.element.append(this.#strip, this.#prompt);
  }

  get isEmpty() {
    return this.#shown.length === 0;
  }

  /**
   * In the order of their steps, and the newest in view unless somebody looks at another one.
   * @param {Training} training
   */
  show({ samples }) {
    if (samples === this.#shown) return;
    const { scrollLeft, clientWidth, scrollWidth } = this.#strip;
    this.#shown = samples;
    this.#figures = new Map(samples.map((sample) => [sample, this.#figures.get(sample) ?? figure(sample)]));
    this.element.hidden = this.isEmpty;
    this.#strip.replaceChildren(...this.#figures.values());
    this.#strip.scrollLeft = scrollLeft + clientWidth >= scrollWidth - NEAR_END ? this.#strip.scrollWidth : scrollLeft;
    this.#prompt.textContent = this.#prompt.title = samples.at(-1)?.prompt ?? "";
  }
}

/** @param {Sample} sample */
function figure({ step, prompt, picture }) {
  const shown = make("figure", "");
  shown.append(
    make("img", "", { src: picture, alt: say("sampleAlt", { prompt, step }) }),
    make("figcaption", "", { textContent: say("sample", { step }) }),
  );
  return shown;
}

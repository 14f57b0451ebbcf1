// @ts-check
// Where a word is in a text: whole words where the script has spaces, any place where it has none; as cns_core/words.py.
const SCRIPTS = "Han Hiragana Katakana Bopomofo Yi Hangul Thai Lao Khmer Myanmar Tai_Le New_Tai_Lue Tai_Tham Tai_Viet Javanese Balinese";
const WITHOUT_SPACES = SCRIPTS.split(" ").map((script) => `\\p{scx=${script}}`).join("");
const WRITTEN = "[\\p{L}\\p{M}\\p{N}_]";
const NEEDS_SPACES = `(?:(?![${WITHOUT_SPACES}])${WRITTEN})`;
const HYPHEN = "[-\\u2010\\u2011\\u00ad\\u200c\\u200d]";
const WORD = new RegExp(`${WRITTEN}+(?:${HYPHEN}${WRITTEN}+)*`, "gu");
const [FIRST, LAST] = [new RegExp(`^${NEEDS_SPACES}`, "u"), new RegExp(`${NEEDS_SPACES}$`, "u")];

/**
 * What spaces and punctuation leave; in lower case.
 * @param {string} text
 * @returns {string[]}
 */
export function wordsOf(text) {
  return text.normalize("NFC").toLowerCase().match(WORD) ?? [];
}

/**
 * Whether the noun, or its plural, is among the words.
 * @param {string[]} words
 * @param {string} noun
 */
export function hasNoun(words, noun) {
  const wanted = wordsOf(noun).join(" ");
  const before = FIRST.test(wanted) ? `(?<!${NEEDS_SPACES}${HYPHEN}?)` : "";
  const after = LAST.test(wanted) ? `(?:e?s)?(?!${HYPHEN}?${NEEDS_SPACES})` : "";
  return new RegExp(`${before}${wanted}${after}(?!\\p{M})`, "u").test(words.join(" "));
}

// @ts-check
// What the page says, in the editor's language.
import { app } from "../../scripts/app.js";
import de from "./strings/de.js";
import en from "./strings/en.js";
import es from "./strings/es.js";
import fr from "./strings/fr.js";
import ja from "./strings/ja.js";
import ko from "./strings/ko.js";
import ru from "./strings/ru.js";
import zh from "./strings/zh.js";
import zhTW from "./strings/zh-TW.js";

/** @type {Record<string, typeof en>} */
const LANGUAGES = { de, en, es, fr, ja, ko, ru, zh, "zh-TW": zhTW };

/**
 * @param {keyof typeof en} key
 * @param {Record<string, string | number>} [values] for the names in braces
 */
export function say(key, values = {}) {
  const strings = LANGUAGES[String(app.extensionManager.setting.get("Comfy.Locale"))] ?? en;
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

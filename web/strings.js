// @ts-check
// What the page says, in the editor's language.
import { app } from "../../scripts/app.js";

const ENGLISH = {
  training: "Training",
  starting: "starting",
  running: "step {step}/{steps}, {speed}, {left} left",
  stopped: "stopped at step {step}/{steps}",
  done: "{steps} steps in {time}, {speed}",
  perSecond: "{value} it/s",
  perStep: "{value} s/it",
  losses: "Losses: {values}",
  instance: "instance",
  prior: "prior",
  regularization: "regularization",
  moved: "kept prompts moved",
  ownScale: "{name} (max {top})",
  steps: "{steps} steps",
  previews: "Previews",
  sample: "step {step}",
  sampleAlt: "{prompt}, after step {step}",
  concepts: "Concepts of this state",
  give: "Add {words} to the selected prompt, or copy it",
  added: "added",
  copied: "copied",
  notCopied: "could not copy",
  neurons: "{count} neurons ({share})",
  overlaps: "overlaps {nearest}",
  neuronsHelp: "The weights this concept trains, and their share of all K/V weights.",
  overlapHelp: "Overlap (IoU) with:",
  movedSince: "moved {share}",
  movedHelp: "By how much K and V of its prompts have moved since it was taught, at most.",
  mute: "mute",
  unmute: "unmute",
  muteHelp: "Leave {token} out of the pictures: 0 in concept_strengths.",
  unmuteHelp: "Use {token} as taught again.",
  remove: "remove",
  removeHelp: "Put a Remove CNS Concept for {token} before this node.",
  used: "{share} of K/V used, checkpoint {checkpoint}",
  unknownToken: "This state does not know {token}. It knows {known}.",
  unknownTokenEmpty: "This state does not know {token}: it has no concepts yet.",
  noun: "{token} works best beside its noun: write {token} {noun}",
};

/** @type {typeof ENGLISH} */
const CHINESE = {
  training: "训练",
  starting: "正在开始",
  running: "第 {step}/{steps} 步，{speed}，剩余 {left}",
  stopped: "在第 {step}/{steps} 步停止",
  done: "{steps} 步，用时 {time}，{speed}",
  perSecond: "{value} 步/秒",
  perStep: "{value} 秒/步",
  losses: "损失：{values}",
  instance: "实例",
  prior: "先验",
  regularization: "正则化",
  moved: "受保持的提示词移动",
  ownScale: "{name}（最大 {top}）",
  steps: "{steps} 步",
  previews: "预览",
  sample: "第 {step} 步",
  sampleAlt: "{prompt}，第 {step} 步之后",
  concepts: "此状态中的概念",
  give: "将 {words} 加入选中的提示词，或复制到剪贴板",
  added: "已加入",
  copied: "已复制",
  notCopied: "无法复制",
  neurons: "{count} 个神经元（{share}）",
  overlaps: "与 {nearest} 重叠",
  neuronsHelp: "这个概念训练的权重，以及它们在全部 K/V 权重中的比例。",
  overlapHelp: "重叠（IoU）：",
  movedSince: "移动 {share}",
  movedHelp: "它学会之后，其提示词的 K 和 V 最多移动了多少。",
  mute: "静音",
  unmute: "取消静音",
  muteHelp: "图中不使用 {token}：在 concept_strengths 中设为 0。",
  unmuteHelp: "重新按训练结果使用 {token}。",
  remove: "移除",
  removeHelp: "在此节点之前为 {token} 插入“移除 CNS 概念”节点。",
  used: "已使用 {share} 的 K/V，Checkpoint {checkpoint}",
  unknownToken: "此状态不认识 {token}。它认识：{known}。",
  unknownTokenEmpty: "此状态不认识 {token}：其中还没有概念。",
  noun: "{token} 紧挨着它的类别词效果最好：请写 {token} {noun}",
};

/**
 * @param {keyof typeof ENGLISH} key
 * @param {Record<string, string | number>} [values] for the names in braces
 */
export function say(key, values = {}) {
  const strings = app.extensionManager.setting.get("Comfy.Locale") === "zh" ? CHINESE : ENGLISH;
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// What a video was made from, in readable words.

import { make } from "../elements.js";

/**
 * Fills a list with the facts of a video.
 * @param {HTMLDListElement} list
 * @param {object} facts the JSON of a video's provenance
 */
export function describe(list, facts) {
  list.replaceChildren(
    ...told(facts).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]),
  );
}

function told(facts) {
  const plan = facts.plan ?? {};
  const rows = [
    ["Made by", facts.generator && `${facts.generator} ${facts.version ?? ""}, never filmed`],
    ["Model", facts.model && `${facts.model} (bundle ${short(facts.bundle)})`],
    ["Picture", facts.picture && `fingerprint ${short(facts.picture)}`],
    ["Voice", facts.voice && `fingerprint ${short(facts.voice)}`],
    ["Face", facts.face_box ? `the box ${facts.face_box.map(Math.round).join(", ")}` : "found by itself"],
    ["Shows", facts.framing === "original" ? "the whole picture" : facts.framing && "the square around the face"],
    ["Head speed", facts.speed == null ? "the model's own" : `${facts.speed} degrees per frame`],
    ["Seed", facts.seed],
    ["Frames", facts.frames],
    ["Ran on", plan.backend],
    ["Effort", effort(plan)],
    ["File", facts.sha256 && `fingerprint ${short(facts.sha256)}`],
  ];
  return rows.filter(([, value]) => value != null && value !== "").map(([name, value]) => [name, String(value)]);
}

function effort(plan) {
  if (plan.steps == null) return null;
  return `${plan.steps} ${plan.steps === 1 ? "step" : "steps"}${plan.guidance_scale == null ? "" : `, guidance ${plan.guidance_scale}`}`;
}

function short(hash) {
  return String(hash).slice(0, 16);
}

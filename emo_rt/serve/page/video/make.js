// Makes a video of the portrait and the voice.

import { requestJson } from "../api.js";
import { find, hide, show } from "../elements.js";
import { explained, Failure } from "../failures.js";

const LARGEST_SEED = 2 ** 32 - 1;

/**
 * Lets the form make videos.
 * @param {{portrait: import("../inputs/portrait.js").Portrait, voice: import("../inputs/voice.js").Voice}} inputs
 * @param {(video: object) => void} made called with the video that the server has accepted
 */
export function makeVideos({ portrait, voice }, made) {
  const button = find("make-button");
  async function send() {
    hide(find("make-failure"));
    button.disabled = true;
    button.textContent = "Sending…";
    try {
      const form = new FormData();
      voice.into(form);
      options(form);
      form.set("portrait", await portrait.ready());
      made(await requestJson("v1/videos", { method: "POST", body: form }));
    } catch (error) {
      show(find("make-failure"), explained(error), send);
    } finally {
      button.disabled = false;
      button.textContent = "Make the video";
    }
  }
  find("make-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!button.disabled) send();
  });
}

/** Puts what the reader has changed into the form. */
function options(form) {
  const seed = find("seed").value.trim() || "0";
  if (!/^\d+$/.test(seed) || Number(seed) > LARGEST_SEED) {
    find("options").open = true;
    find("seed").focus();
    throw new Failure(`The seed is a whole number from 0 to ${LARGEST_SEED}. Put one in, or leave it empty.`);
  }
  form.set("seed", String(Number(seed)));
  form.set("framing", document.querySelector("input[name=framing]:checked").value);
  if (find("speed").value) form.set("speed", find("speed").value);
}

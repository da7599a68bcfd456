// The page of the server: brings its parts together.

import { askWith, requestJson } from "./api.js";
import { find } from "./elements.js";
import { takeDropped } from "./inputs/drop.js";
import { Portrait } from "./inputs/portrait.js";
import { Voice } from "./inputs/voice.js";
import { Talk } from "./live/talk.js";
import { tabs } from "./tabs.js";
import { askForToken } from "./token.js";
import { Earlier } from "./video/earlier.js";
import { makeVideos } from "./video/make.js";
import { Watch } from "./video/watch.js";

let limits = null;

/** Asks what the server takes. Without that the page works all the same: the server itself refuses what is too much. */
async function learnLimits() {
  try {
    limits = await requestJson("v1/limits");
    find("about").textContent = `${limits.model}, ${limits.size.replace("x", " × ")}, emo-rt ${limits.version}`;
  } catch {
    limits = null;
  }
}

askWith(askForToken);
const portrait = new Portrait(() => limits);
const voice = new Voice(() => limits);
const watch = new Watch((video) => earlier.update(video));
const earlier = new Earlier({
  watch: (video) => watch.watch(video),
  deleted: (video) => watch.video?.id === video.id && watch.clear(),
});
makeVideos({ portrait, voice }, (video) => {
  earlier.update(video);
  watch.watch(video);
});
const talk = new Talk(portrait, () => limits);

tabs(document.querySelector("[role=tablist]"), (panel) => {
  panel.querySelector("[data-place=portrait]").append(find("portrait"));
  if (panel.id !== "panel-live") talk.stop();
});
takeDropped((file) => portrait.use(file), (file) => voice.use(file));

learnLimits();
portrait.useBundled();
voice.useBundled();
earlier.load();

// Shows a video while it is made, and what becomes of it.

import { address, guarded, remove, request, requestJson } from "../api.js";
import { bringIntoView, find, hide, show, wait } from "../elements.js";
import { explained, Failure, sentence } from "../failures.js";
import { CannotGrow, playGrowing } from "./growing.js";
import { Estimate } from "./estimate.js";
import { describe } from "./provenance.js";

/** How often the server is asked how far it is, and the longest wait while it does not answer, milliseconds. */
const EVERY = 500;
const LONGEST = 8000;
const LATER = "The video is shown when it is complete.";
const UNPLAYABLE = "This browser cannot play H.264 video. Download the video and open it in another program.";

/** The place where one video is watched. */
export class Watch {
  /** @param {(video: object) => void} changed called with the video whenever its status has changed */
  constructor(changed) {
    this.changed = changed;
    this.video = null;
    this.stopped = new AbortController();
    find("cancel").addEventListener("click", () => this.cancel());
    find("download").addEventListener("click", (event) => this.#download(event));
    find("provenance").addEventListener("toggle", () => this.#provenance());
  }

  /** Shows a video from its beginning, whatever its status is. */
  async watch(video) {
    this.clear();
    this.video = video;
    const { signal } = this.stopped;
    const stage = find("video");
    find("empty-stage").textContent = "The first frames are on their way.";
    find("progress").hidden = false;
    bringIntoView(find("watch"));
    this.#tell(video, new Estimate());
    try {
      const [finished, whyNot] = await Promise.all([this.#follow(signal), this.#play(stage, video, signal)]);
      if (whyNot) await this.#playComplete(stage, signal);
      this.#done(finished);
    } catch (error) {
      if (signal.aborted) return;
      this.stopped.abort();
      find("progress").hidden = true;
      find("watch-state").textContent = "";
      show(find("watch-failure"), explained(error), () => this.watch(video));
    }
  }

  /** Takes the video away; it is made all the same. */
  clear() {
    this.stopped.abort();
    this.stopped = new AbortController();
    this.video = null;
    const stage = find("video");
    stage.pause();
    stage.removeAttribute("src");
    stage.load();
    stage.hidden = true;
    find("empty-stage").hidden = false;
    find("empty-stage").textContent = "The video appears here, and plays while it is made.";
    find("watch-state").textContent = "";
    hide(find("watch-failure"));
    find("progress").hidden = true;
    find("done").hidden = true;
    find("provenance").open = false;
    find("provenance-facts").replaceChildren();
  }

  /** Stops making the video and deletes what there is of it. */
  async cancel() {
    const { video } = this;
    try {
      await remove(`v1/videos/${video.id}`);
      this.clear();
      find("watch-state").textContent = "Cancelled. Nothing of the video is kept.";
      this.changed({ ...video, status: "cancelled" });
      find("make-button").focus();
    } catch (error) {
      show(find("watch-failure"), explained(error), () => this.cancel());
    }
  }

  /** Asks how far the video is until it is over; while the server is away it asks on, with growing waits. */
  async #follow(signal) {
    const estimate = new Estimate();
    let pause = EVERY;
    for (let status = null; ; ) {
      try {
        const video = await requestJson(`v1/videos/${this.video.id}`, { signal });
        hide(find("watch-failure"));
        this.video = video;
        this.#tell(video, estimate);
        if (video.status !== status) this.changed(video);
        ({ status } = video);
        if (status === "completed") return video;
        if (status === "failed") throw new Failure(sentence(video.error?.message ?? "the video failed; make it again"));
        pause = EVERY;
      } catch (error) {
        signal.throwIfAborted();
        if (!error.passing) throw error;
        pause = Math.max(1000 * (error.retryAfter ?? 0), Math.min(2 * pause, LONGEST));
        if (pause >= 4 * EVERY) show(find("watch-failure"), `${error.message} The page goes on by itself.`);
      }
      await wait(pause, signal);
    }
  }

  #tell(video, estimate) {
    const queued = video.status === "queued";
    const bar = find("progress-bar");
    if (queued) bar.removeAttribute("value");
    else bar.value = video.progress;
    find("progress-text").textContent = queued ? waiting(video) : estimate.words(video);
    find("watch-state").textContent = { queued: "Waiting for its turn.", in_progress: "The video is being made." }[video.status] ?? "";
  }

  /** Plays the video while it grows; gives why it could not, or null. */
  async #play(stage, video, signal) {
    stage.addEventListener("loadeddata", () => showStage(stage), { once: true, signal });
    stage.addEventListener("canplay", () => begin(stage), { once: true, signal });
    const open = () => request(`v1/videos/${video.id}/stream`, { signal });
    try {
      await playGrowing(stage, open, { signal, seconds: video.seconds });
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (stage.hidden) find("empty-stage").textContent = error instanceof CannotGrow ? error.message : LATER;
      return error;
    }
  }

  async #playComplete(stage, signal) {
    const content = await (await request(`v1/videos/${this.video.id}/content`, { signal })).blob();
    stage.addEventListener("error", () => show(find("watch-failure"), UNPLAYABLE), { once: true, signal });
    stage.addEventListener("loadeddata", () => showStage(stage), { once: true, signal });
    stage.src = URL.createObjectURL(content);
    await begin(stage);
  }

  #done(video) {
    find("progress").hidden = true;
    find("done").hidden = false;
    const took = video.completed_at - video.started_at;
    const made = took > 0 ? ` It took ${took < 10 ? took.toFixed(1) : Math.round(took)} s to make.` : "";
    find("watch-state").textContent = `The video is ready.${made}`;
    const link = find("download");
    link.href = address(`v1/videos/${video.id}/content`);
    link.download = `${video.id}.mp4`;
  }

  /** A link sends no token, so the page fetches the video itself where one is needed. */
  async #download(event) {
    if (!guarded()) return;
    event.preventDefault();
    try {
      await save(this.video);
    } catch (error) {
      show(find("watch-failure"), explained(error));
    }
  }

  async #provenance() {
    const list = find("provenance-facts");
    if (!find("provenance").open || list.children.length) return;
    try {
      describe(list, await requestJson(`v1/videos/${this.video.id}/provenance`));
    } catch (error) {
      find("provenance").open = false;
      show(find("watch-failure"), explained(error));
    }
  }
}

/** Saves a video under its name. */
async function save(video) {
  const content = await (await request(`v1/videos/${video.id}/content`)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${video.id}.mp4`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function showStage(stage) {
  stage.hidden = false;
  find("empty-stage").hidden = true;
}

/** Some browsers let the reader press play first. */
async function begin(stage) {
  try {
    await stage.play();
  } catch {
    showStage(stage);
  }
}

function waiting(video) {
  if (!video.ahead) return "";
  return video.ahead === 1 ? "One video is before yours." : `${video.ahead} videos are before yours.`;
}

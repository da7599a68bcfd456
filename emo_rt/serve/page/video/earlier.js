// The list of earlier videos.

import { remove, requestJson } from "../api.js";
import { find, hide, make, show } from "../elements.js";
import { explained } from "../failures.js";

const PAGE = 10;
/** How often the server is asked for videos that are not finished, milliseconds. */
const EVERY = 5000;
/** How long a button waits for the second press that deletes, milliseconds. */
const SURE = 4000;
const WORDS = { queued: "waiting", in_progress: "being made", completed: "ready", failed: "failed" };

/** Earlier videos, newest first. */
export class Earlier {
  /** @param {{watch: (video: object) => void, deleted: (video: object) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.list = find("earlier");
    this.last = null;
    this.unfinished = new Set();
    setInterval(() => this.#refresh(), EVERY);
    find("more").addEventListener("click", () => this.load(this.last));
  }

  /** Loads the newest videos, or those after the one with the id `after`. */
  async load(after = null) {
    hide(find("earlier-failure"));
    try {
      const page = await requestJson(`v1/videos?order=desc&limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ""}`);
      if (!after) this.list.replaceChildren();
      this.list.append(...page.data.map((video) => this.#row(video)));
      this.last = page.last_id;
      find("more").hidden = !page.has_more;
      this.#count();
    } catch (error) {
      show(find("earlier-failure"), explained(error), () => this.load(after));
    }
  }

  /** Shows a video as it is now; a new one comes first, one that was cancelled goes. */
  update(video) {
    const known = document.getElementById(`row-${video.id}`);
    if (known && known.dataset.status === video.status) return; // a button of it may have the focus
    if (video.status === "cancelled") {
      this.unfinished.delete(video.id);
      known?.remove();
    } else if (known) known.replaceWith(this.#row(video));
    else this.list.prepend(this.#row(video));
    this.#count();
  }

  /** Looks after the videos that are not finished; what cannot be learned now is learned later. */
  async #refresh() {
    if (document.hidden) return;
    for (const id of this.unfinished) {
      const failed = (error) => ({ id, status: error.status === 404 ? "cancelled" : null });
      const video = await requestJson(`v1/videos/${id}`).catch(failed);
      if (video.status && document.getElementById(`row-${id}`)) this.update(video);
    }
  }

  #count() {
    find("earlier-state").textContent = this.list.children.length ? "" : "None yet.";
  }

  #row(video) {
    const name = when(video.created_at);
    if (["queued", "in_progress"].includes(video.status)) this.unfinished.add(video.id);
    else this.unfinished.delete(video.id);
    const facts = [
      WORDS[video.status],
      video.seconds && `${video.seconds.toFixed(1)} s`,
      video.size?.replace("x", " × "),
      video.seed != null && `seed ${video.seed}`,
    ].filter(Boolean);
    const row = make("li", { id: `row-${video.id}` }, make("p", {}, name, make("small", { textContent: facts.join(" · ") })));
    row.dataset.status = video.status;
    const buttons = make("div", { className: "buttons" });
    if (video.status !== "failed") buttons.append(this.#watchButton(video, name));
    buttons.append(this.#deleteButton(video, name, row));
    row.append(buttons);
    return row;
  }

  #watchButton(video, name) {
    const button = make("button", { type: "button", textContent: "Watch" });
    button.setAttribute("aria-label", `Watch the video of ${name}`);
    button.addEventListener("click", () => this.actions.watch(video));
    return button;
  }

  /** It deletes when it is pressed twice. */
  #deleteButton(video, name, row) {
    const button = make("button", { type: "button" });
    const ask = (sure) => {
      button.textContent = sure ? "Delete for good?" : "Delete";
      button.setAttribute("aria-label", sure ? `Delete the video of ${name} for good?` : `Delete the video of ${name}`);
      button.classList.toggle("sure", sure);
    };
    ask(false);
    button.addEventListener("click", async () => {
      if (!button.classList.contains("sure")) {
        ask(true);
        setTimeout(() => ask(false), SURE);
        return;
      }
      hide(find("earlier-failure"));
      try {
        await remove(`v1/videos/${video.id}`);
        this.unfinished.delete(video.id);
        const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("button");
        row.remove();
        (next ?? find("make-button")).focus();
        this.#count();
        this.actions.deleted(video);
      } catch (error) {
        show(find("earlier-failure"), explained(error));
      }
    });
    return button;
  }
}

/** "Today, 18:56" or "24 Nov, 18:56". */
function when(seconds) {
  const date = new Date(1000 * seconds);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const today = date.toDateString() === new Date().toDateString();
  return `${today ? "Today" : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}

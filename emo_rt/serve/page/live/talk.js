// Talks live with the portrait: starts and stops, says what goes on, and connects again when the connection is lost.

import { bringIntoView, find, hide, show, wait } from "../elements.js";
import { checkDevices, explained, Failure, inWords, sentence } from "../failures.js";
import { openMicrophone, showLevel } from "../inputs/recorder.js";
import { Call } from "./call.js";

/** How often a lost connection is opened anew, and the first wait, which doubles, milliseconds. */
const TRIES = 5;
const FIRST_WAIT = 500;
/** When a full server does not say when to come back, seconds. */
const FULL_WAIT = 5;
const UNHEARD = "The voice is off, so that you do not hear yourself. Put on headphones before you switch it on.";
const HEARD = "The voice is on. Without headphones you hear yourself, and so does the microphone.";

/** The tab "Talk live". */
export class Talk {
  /**
   * @param {import("../inputs/portrait.js").Portrait} portrait
   * @param {() => object | null} limits gives the limits of the server, null before they are known
   */
  constructor(portrait, limits) {
    this.portrait = portrait;
    this.limits = limits;
    this.call = null;
    this.stopped = null;
    this.video = find("live-video");
    find("talk").addEventListener("click", () => (this.stopped ? this.stop() : this.start()));
    find("interrupt").addEventListener("click", () => this.interrupt());
    find("hear").addEventListener("click", () => this.hear(this.video.muted));
    window.addEventListener("pagehide", () => this.stop());
  }

  /** Talks until the reader or the server stops it. */
  async start() {
    hide(find("live-failure"));
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    this.#running(true);
    let microphone = null;
    let quiet = () => {};
    try {
      if (!globalThis.RTCPeerConnection) throw new Failure("This browser cannot talk live (it lacks WebRTC). Use a current Firefox, Chrome or Safari.");
      checkDevices("microphone");
      this.#say("Asking for the microphone…");
      microphone = await openMicrophone();
      signal.throwIfAborted();
      quiet = showLevel(microphone, find("live-level"));
      await this.#talk(microphone, signal);
    } catch (error) {
      if (!signal.aborted) show(find("live-failure"), explained(error), () => this.start());
    } finally {
      quiet();
      microphone?.getTracks().forEach((track) => track.stop());
      this.#hangUp();
      this.stopped = null;
      this.#running(false);
      this.#say("Not connected.");
    }
  }

  /** Ends the talk. */
  stop() {
    this.stopped?.abort(new Failure("stopped"));
  }

  /** Drops what the portrait has not said yet. */
  async interrupt() {
    try {
      await this.call?.clear();
    } catch (error) {
      show(find("live-failure"), explained(error));
    }
  }

  /** Switches the voice of the portrait on or off. */
  hear(on) {
    this.video.muted = !on;
    find("hear").setAttribute("aria-checked", String(on));
    find("hear-help").textContent = on ? HEARD : UNHEARD;
  }

  /** Connects, and again whenever the connection is lost; ends with an error. */
  async #talk(microphone, signal) {
    for (let tries = 0; ; ) {
      this.#say(tries ? "Connecting again…" : "Connecting…");
      try {
        const portrait = await this.portrait.ready();
        const iceServers = this.limits()?.live?.ice_servers;
        this.call = await Call.open({ portrait, microphone, iceServers, signal });
        tries = 0;
        hide(find("live-failure"));
        await this.#live(this.call, signal);
        tries = 1; // it was lost
      } catch (error) {
        signal.throwIfAborted();
        if (error.status === 503) {
          const seconds = error.retryAfter || FULL_WAIT;
          this.#say(`${error.said ?? "All places are taken."} This page tries again in ${inWords(seconds)}.`);
          await wait(1000 * seconds, signal);
          continue;
        }
        if (!error.passing || ++tries > TRIES) throw error;
      } finally {
        this.#hangUp();
      }
      this.#say("The connection was lost. Connecting again…");
      await wait(FIRST_WAIT * 2 ** (tries - 1), signal);
    }
  }

  /** Shows a connection until it is lost; an error if the server closes it. */
  #live(call, signal) {
    this.video.srcObject = call.stream;
    this.video.play().catch(() => {}); // it plays when the first frame is there
    if (document.activeElement === find("talk")) bringIntoView(find("call")); // where "Interrupt" is
    this.#visible(true);
    this.#say("Listening.");
    return new Promise((resolve, reject) => {
      call.addEventListener("lost", resolve);
      call.addEventListener("said", ({ detail }) => {
        if (detail.type === "state") this.#say(detail.speaking ? "Speaking." : "Listening.");
        else if (detail.type === "cleared") this.#say("Interrupted. Listening.");
        else if (detail.type === "closing") reject(new Failure(closing(detail.reason)));
      });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  #hangUp() {
    this.call?.close();
    this.call = null;
    this.video.srcObject = null;
    this.#visible(false);
  }

  #visible(on) {
    this.video.hidden = !on;
    find("empty-call").hidden = on;
    find("interrupt").disabled = !on;
  }

  #running(on) {
    const button = find("talk");
    button.classList.toggle("running", on);
    button.textContent = on ? "Stop talking" : "Start talking";
  }

  #say(words) {
    find("live-state").textContent = words;
  }
}

function closing(reason) {
  const words = reason ? sentence(String(reason)) : "The server has ended the talk.";
  return `${words} Start again when you like.`;
}

// The voice: the bundled one, a recording, or a sound file.

import { request } from "../api.js";
import { find, hide, show } from "../elements.js";
import { checkSize, explained, Failure, inWords } from "../failures.js";
import { Recording } from "./recorder.js";

/** A recording shorter than this was a slip, seconds. */
const SHORTEST = 0.5;

/** The voice that the reader has chosen. */
export class Voice {
  /** @param {() => object | null} limits gives the limits of the server, null before they are known */
  constructor(limits) {
    this.limits = limits;
    this.file = null;
    this.recording = null;
    const file = find("voice-file");
    file.addEventListener("change", () => {
      if (file.files[0]) this.use(file.files[0]);
      file.value = "";
    });
    find("use-example-voice").addEventListener("click", () => this.useBundled());
    find("record").addEventListener("click", () => (this.recording ? this.recording.stop() : this.record()));
  }

  /** Takes the bundled voice. */
  async useBundled() {
    this.#take(null, "The example voice. Or record your own.");
    try {
      const sound = await (await request("v1/voices/bundled/content")).blob();
      if (!this.file) this.#hear(sound);
    } catch {
      // It cannot be heard beforehand; it can be used all the same.
    }
  }

  /** Takes a sound file, or a video with sound. */
  use(file) {
    try {
      checkSize(file, this.limits());
    } catch (error) {
      show(find("voice-failure"), error);
      return;
    }
    this.#take(file, `Your sound file: ${file.name}`);
    this.#hear(file);
  }

  /** Records until the reader stops it. */
  async record() {
    const button = find("record");
    hide(find("voice-failure"));
    button.disabled = true;
    try {
      const most = this.limits()?.max_seconds;
      this.recording = await Recording.start(find("recording-level"), most, (seconds) => this.#time(seconds));
      this.#running(true);
      const file = await this.recording.finished;
      if (this.recording.seconds < SHORTEST) throw new Failure("The recording was too short. Record at least a word.");
      this.#take(file, `Your recording, ${inWords(this.recording.seconds)}.`);
      this.#hear(file);
    } catch (error) {
      show(find("voice-failure"), explained(error));
    } finally {
      this.recording = null;
      this.#running(false);
      button.focus();
    }
  }

  /**
   * Puts the voice into a form.
   * @throws {Failure} while the voice is being recorded
   */
  into(form) {
    if (this.recording) throw new Failure("Your voice is being recorded. Stop the recording first.");
    if (this.file) form.set("audio", this.file, this.file.name);
    else form.set("voice", "bundled");
  }

  #take(file, words) {
    this.file = file;
    hide(find("voice-failure"));
    find("voice-state").textContent = words;
    find("use-example-voice").hidden = !file;
    find("voice-player").hidden = true;
  }

  #hear(sound) {
    const player = find("voice-player");
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(sound);
    player.hidden = false;
  }

  #running(on) {
    const button = find("record");
    button.disabled = false;
    button.classList.toggle("running", on);
    button.textContent = on ? "Stop recording" : "Record a voice";
    find("recording").hidden = !on;
    if (on) find("voice-player").hidden = true;
  }

  #time(seconds) {
    const whole = Math.floor(seconds);
    find("recording-time").textContent = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  }
}
